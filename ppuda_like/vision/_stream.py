"""The endless stream of image batches that a training run reads."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError
from ppuda_like.vision._augment import AUGMENTATIONS, Augmentation, Variation
from ppuda_like.vision._data import ImageSource

__all__ = ["ImageStream"]

Batch = tuple[Tensor, Tensor]


class ImageStream(Dataset[Batch]):
    """Augmented, normalised batches by number.

    Batch b is a function of (data, seed, b) alone: any process may make any batch, and a run resumes exactly by
    remembering one integer.

    Shuffled, every pass over the data, an epoch, has a new order, and what is left after the last full batch of a pass
    is dropped.  In order (``shuffle=False``) all passes are equal but for the augmentation, and the last batch of each
    holds what is left.

    With ``classes_per_batch`` = k of C classes, as for data of many classes, a batch holds images of k classes only.
    Batches come in rounds of C // k: each round has a new order of the classes and its batches take k classes after k,
    so that no class comes twice in a round and C % k sit it out.  A batch of B images takes B // k of each of its
    classes, and one more of B % k of them, drawn without repetition unless the class has too few.  An epoch is then a
    number of batches only, not a pass.  Classes without images are not counted.

    Args:
        data: the images.
        batch_size: images in a batch.
        augment: how the images vary, by name in ``AUGMENTATIONS`` or as functions of your own.
        seed: of the order and of the augmentation.
        shuffle: whether each pass has a random order.
        classes_per_batch: number of classes in a batch; None for whatever the order brings.

    Attributes:
        per_epoch: batches in one pass.

    Raises:
        DataError: if the batch size is not positive or above the number of images, the augmentation is unknown, or
            ``classes_per_batch`` is above the batch size or the number of classes, or given without ``shuffle``.

    Example:
        >>> from ppuda_like.vision import digits
        >>> stream = ImageStream(digits("train"), batch_size=64, augment="affine", seed=1)
        >>> images, labels = stream[1_000_000]
        >>> tuple(images.shape), tuple(labels.shape), stream.per_epoch
        ((64, 3, 32, 32), (64,), 20)
    """

    def __init__(
        self,
        data: ImageSource,
        *,
        batch_size: int,
        augment: Augmentation | Variation = "none",
        seed: int = 0,
        shuffle: bool = True,
        classes_per_batch: int | None = None,
    ) -> None:
        if not isinstance(augment, Variation):
            if augment not in AUGMENTATIONS:
                raise DataError(f"unknown augmentation {augment!r}; choose one of {', '.join(AUGMENTATIONS)}")
            augment = AUGMENTATIONS[augment]
        if batch_size < 1:
            raise DataError(f"'batch_size' must be at least 1 (got {batch_size})")
        if shuffle and len(data) < batch_size:
            raise DataError(
                f"{len(data)} images make no full batch of {batch_size}; lower 'batch_size', or take shuffle=False"
            )
        self.data = data
        self.batch_size = batch_size
        self.variation = augment
        self.seed = seed
        self.shuffle = shuffle
        self.classes_per_batch = classes_per_batch
        self.per_epoch = len(data) // batch_size if shuffle else -(-len(data) // batch_size)
        self._order: tuple[int, Tensor] = (-1, torch.arange(0))  # the latest epoch and its permutation
        self._members: tuple[Tensor, ...] = ()  # positions of the images of each class that has any
        if classes_per_batch is not None:
            if not shuffle:
                raise DataError("'classes_per_batch' draws at random; take shuffle=True with it")
            labels = data.labels.cpu()
            members = ((labels == label).nonzero()[:, 0] for label in range(len(data.class_names)))
            self._members = tuple(found for found in members if len(found))
            most = min(batch_size, len(self._members))
            if not 1 <= classes_per_batch <= most:
                raise DataError(
                    f"'classes_per_batch' must be in 1..{most}, with batches of {batch_size} images "
                    f"and {len(self._members)} classes (got {classes_per_batch})"
                )

    def __getitem__(self, number: int) -> Batch:
        """Images (n, 3, H, W), normalised, and labels (n,) of the batch of that number, 0 or more."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "augment", number))
        return self.variation.batch(self.data, self.index(number), generator)

    def index(self, number: int) -> Tensor:
        """Positions (n,) in the data of a batch's images."""
        if number < 0:
            raise IndexError(f"batches are numbered from 0 (got {number})")
        if self.classes_per_batch is not None:
            return self._of_some_classes(number, self.classes_per_batch)
        epoch, batch = divmod(number, self.per_epoch)
        start = batch * self.batch_size
        if not self.shuffle:
            return torch.arange(start, min(start + self.batch_size, len(self.data)))
        cached, order = self._order
        if cached != epoch:
            order = torch.randperm(len(self.data), generator=self._generator("order", epoch))
            self._order = epoch, order
        return order[start : start + self.batch_size]

    def batches(self, numbers: Iterable[int], workers: int = 0) -> Iterator[Batch]:
        """The batches of those numbers, in order.

        Args:
            numbers: which batches; they may be endless.
            workers: processes that prepare batches ahead; 0 to make each in this one, when asked for.

        Raises:
            DataError: as reading the images does, from the process that asks.
        """
        if not workers:
            for number in numbers:
                yield self[number]
            return
        loader: DataLoader[Batch | DataError] = DataLoader(
            _Served(self),
            sampler=numbers,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4,
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # without a batch size it gets what the data set gives
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # the workers' own seeds; else they come from the global random state
        )
        for found in loader:
            if isinstance(found, DataError):
                raise found
            yield found

    def _of_some_classes(self, number: int, count: int) -> Tensor:
        in_round, position = divmod(number, len(self._members) // count)
        order = torch.randperm(len(self._members), generator=self._generator("classes", in_round))
        chosen = order[position * count : (position + 1) * count].tolist()
        generator = self._generator("members", number)
        share, more = divmod(self.batch_size, count)
        drawn = [_draw(self._members[label], share + (i < more), generator) for i, label in enumerate(chosen)]
        return torch.cat(drawn)[torch.randperm(self.batch_size, generator=generator)]

    def _generator(self, use: str, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.seed, use, number))


class _Served(Dataset[Batch | DataError]):
    """The stream as a worker serves it: torch would bury the message of an error in a traceback."""

    def __init__(self, stream: ImageStream) -> None:
        self.stream = stream

    def __getitem__(self, number: int) -> Batch | DataError:
        try:
            return self.stream[number]
        except DataError as error:
            return error


def _draw(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the members; each of them once before any comes again."""
    rounds = -(-count // len(members))
    order = torch.cat([torch.randperm(len(members), generator=generator) for _ in range(rounds)])
    return members[order[:count]]


def _as_it_is(batch: Batch | DataError) -> Batch | DataError:
    return batch


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # A signal to the whole process group is for the run to answer, which still needs its workers for the last step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
