"""Images, and the training and evaluation of one network on them."""

from ppuda_like.vision._adapt import adapt_small_input as adapt_small_input
from ppuda_like.vision._augment import AUGMENTATIONS as AUGMENTATIONS
from ppuda_like.vision._augment import Augmentation as Augmentation
from ppuda_like.vision._augment import Variation as Variation
from ppuda_like.vision._color import color_jitter as color_jitter
from ppuda_like.vision._data import ImageData as ImageData
from ppuda_like.vision._data import ImageSource as ImageSource
from ppuda_like.vision._data import normalise as normalise
from ppuda_like.vision._datasets import IMAGE_SETS as IMAGE_SETS
from ppuda_like.vision._datasets import ImageSet as ImageSet
from ppuda_like.vision._datasets import ImageSplit as ImageSplit
from ppuda_like.vision._datasets import default_augmentation as default_augmentation
from ppuda_like.vision._datasets import load_images as load_images
from ppuda_like.vision._detect_backbone import Backbone as Backbone
from ppuda_like.vision._detect_config import DetectConfig as DetectConfig
from ppuda_like.vision._detect_data import DetectionData as DetectionData
from ppuda_like.vision._detect_evaluate import DetectionScore as DetectionScore
from ppuda_like.vision._detect_evaluate import evaluate_detector as evaluate_detector
from ppuda_like.vision._detect_generated import generate_pedestrians as generate_pedestrians
from ppuda_like.vision._detect_model import DetectorConfig as DetectorConfig
from ppuda_like.vision._detect_model import detector as detector
from ppuda_like.vision._detect_train import DetectResult as DetectResult
from ppuda_like.vision._detect_train import train_detector as train_detector
from ppuda_like.vision._digits import digits as digits
from ppuda_like.vision._evaluate import Evaluation as Evaluation
from ppuda_like.vision._evaluate import evaluate as evaluate
from ppuda_like.vision._evaluate import main_output as main_output
from ppuda_like.vision._folder import image_folder as image_folder
from ppuda_like.vision._folder_data import FolderData as FolderData
from ppuda_like.vision._noise import Noisy as Noisy
from ppuda_like.vision._noise import gaussian_noise as gaussian_noise
from ppuda_like.vision._noise import noisy as noisy
from ppuda_like.vision._penn_fudan import PennFudan as PennFudan
from ppuda_like.vision._penn_fudan import penn_fudan as penn_fudan
from ppuda_like.vision._rand_augment import rand_augment as rand_augment
from ppuda_like.vision._resized import Resized as Resized
from ppuda_like.vision._resized import resized as resized
from ppuda_like.vision._resized_crop import random_resized_crop as random_resized_crop
from ppuda_like.vision._rmsprop import RMSpropTF as RMSpropTF
from ppuda_like.vision._stream import ImageStream as ImageStream
from ppuda_like.vision._subset import Subset as Subset
from ppuda_like.vision._subset import n_shot as n_shot
from ppuda_like.vision._subset import subset as subset
from ppuda_like.vision._train_config import NetTrainConfig as NetTrainConfig
from ppuda_like.vision._train_net import NetTrainResult as NetTrainResult
from ppuda_like.vision._train_net import train_net as train_net
from ppuda_like.vision._train_weights import load_weights as load_weights
from ppuda_like.vision._train_weights import save_weights as save_weights
from ppuda_like.vision._vary import cutout as cutout
from ppuda_like.vision._vary import random_affine as random_affine
from ppuda_like.vision._vary import random_crop as random_crop
from ppuda_like.vision._vary import random_flip as random_flip

__all__ = [
    "AUGMENTATIONS",
    "IMAGE_SETS",
    "Augmentation",
    "Backbone",
    "DetectConfig",
    "DetectResult",
    "DetectionData",
    "DetectionScore",
    "DetectorConfig",
    "Evaluation",
    "FolderData",
    "ImageData",
    "ImageSet",
    "ImageSource",
    "ImageSplit",
    "ImageStream",
    "NetTrainConfig",
    "NetTrainResult",
    "Noisy",
    "PennFudan",
    "RMSpropTF",
    "Resized",
    "Subset",
    "Variation",
    "adapt_small_input",
    "color_jitter",
    "cutout",
    "default_augmentation",
    "detector",
    "digits",
    "evaluate",
    "evaluate_detector",
    "gaussian_noise",
    "generate_pedestrians",
    "image_folder",
    "load_images",
    "load_weights",
    "main_output",
    "n_shot",
    "noisy",
    "normalise",
    "penn_fudan",
    "rand_augment",
    "random_affine",
    "random_crop",
    "random_flip",
    "random_resized_crop",
    "resized",
    "save_weights",
    "subset",
    "train_detector",
    "train_net",
]
