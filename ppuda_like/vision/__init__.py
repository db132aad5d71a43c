"""Images and the evaluation of one network on them."""

from ppuda_like.vision._adapt import adapt_small_input as adapt_small_input
from ppuda_like.vision._augment import random_affine as random_affine
from ppuda_like.vision._data import ImageData as ImageData
from ppuda_like.vision._data import ImageSource as ImageSource
from ppuda_like.vision._digits import digits as digits
from ppuda_like.vision._evaluate import Evaluation as Evaluation
from ppuda_like.vision._evaluate import evaluate as evaluate
from ppuda_like.vision._evaluate import main_output as main_output
from ppuda_like.vision._folder import FolderData as FolderData
from ppuda_like.vision._folder import image_folder as image_folder

__all__ = [
    "Evaluation",
    "FolderData",
    "ImageData",
    "ImageSource",
    "adapt_small_input",
    "digits",
    "evaluate",
    "image_folder",
    "main_output",
    "random_affine",
]
