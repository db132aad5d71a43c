"""The folder of a block-wise search: what one command leaves for the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ppuda_like._cli_options import Images
from ppuda_like._factories import build_for_images
from ppuda_like._files import replacing
from ppuda_like.errors import CheckpointError, CodeError, DataError
from ppuda_like.search.dna import (
    CellRatings,
    Ratings,
    Space,
    Supernet,
    Teacher,
    choose_taps,
    cifar_space,
    hold_out,
    imagenet_space,
    import_published,
    load_supernet,
    ranking_space,
)
from ppuda_like.vision import ImageSource, load_weights

__all__ = ["SPACES", "DnaRun", "load_space", "read_ratings"]

SPACES: Mapping[str, Callable[[], Space]] = {
    "cifar": cifar_space,
    "imagenet": imagenet_space,
    "imagenet-fixed-last": lambda: imagenet_space(fix_last=True),
    "ranking": ranking_space,
}
"""Spaces by name; ``"imagenet-fixed-last"`` is that of the published search, which leaves the last stage alone."""

_FORMAT = "ppuda-like dna run"
_VERSION = 1
_FILE = "dna.json"


def load_space(name: str) -> Space:
    """A space by name, or that of a JSON file, or that of a folder of a search.

    Raises:
        DataError: if there is no such name or file, or the file is damaged.
        CodeError: if the file describes no space.
    """
    if name in SPACES:
        return SPACES[name]()
    path = Path(name)
    if path.is_dir():
        return DnaRun.load(path).space
    if path.suffix != ".json":
        raise DataError(f"'{name}' is no space: take {', '.join(SPACES)}, a .json file of one, or a folder of a search")
    values = _read_json(path)
    # A file of a search, or of a training of cells, holds its space under that name.
    return Space.from_dict(values.get("space", values))


@dataclass(frozen=True, kw_only=True)
class DnaRun:
    """A teacher, a space and images, and the folder that holds what came of them.

    Attributes:
        out: the folder.
        model: the teacher, as on a command line.
        weights: of the teacher.
        taps: of the teacher, one for each stage.
        space: of the supernet.
        images: that everything is done with.
        num_images: of the training split that are used; None for all.
        held_out: of these, to rate paths with; the others train.
    """

    out: Path
    model: str
    weights: Path
    taps: tuple[str, ...]
    space: Space
    images: Images
    num_images: int | None
    held_out: int

    @classmethod
    def begin(cls, *, space: Space, taps: tuple[str, ...], images: Images, **given: Any) -> DnaRun:
        """A search whose networks have the classes of the images, with taps found on the teacher where none are given.

        Raises:
            CodeError: if the space is for images of another size.
            DataError: if images or weights are not there, or the teacher has no taps that fit the space.
        """
        if images.image_size != space.image_size:
            raise CodeError(
                f"'{space.name}' is for images of {space.image_size} pixels (got --image-size {images.image_size})"
            )
        classes = len(images.load("train").class_names)
        space = replace(space, head=replace(space.head, num_classes=classes))
        run = cls(space=space, taps=taps, images=images, **given)
        return run if taps else replace(run, taps=choose_taps(run._model(), space))

    def keep(self) -> None:
        """Write the folder's ``dna.json``.

        Raises:
            CheckpointError: if the folder is of another search.
        """
        path, wanted = self.out / _FILE, self._to_dict()
        if path.exists():
            found = _read_json(path)
            differing = [key for key, value in wanted.items() if found.get(key) != value]
            if differing:
                raise CheckpointError(
                    f"'{self.out}' holds a search with another {' and '.join(differing)}; choose another folder"
                )
            return
        self.out.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1) + "\n")

    @classmethod
    def load(cls, out: Path) -> DnaRun:
        """The search whose folder it is.

        Raises:
            DataError: if the folder holds none, or its ``dna.json`` is damaged.
        """
        path = out / _FILE
        if not path.exists():
            raise DataError(f"'{out}' is no folder of a search: it has no {_FILE}; begin with: ppuda-like dna train")
        values = _read_json(path)
        if (values.get("format"), values.get("version")) != (_FORMAT, _VERSION):
            raise DataError(f"'{path}' must have the format '{_FORMAT}', version {_VERSION}")
        try:
            images = values["images"]
            return cls(
                out=out,
                model=values["model"],
                weights=Path(values["weights"]),
                taps=tuple(values["taps"]),
                space=Space.from_dict(values["space"]),
                images=Images(
                    data=images["data"], data_root=Path(images["data_root"]), image_size=images["image_size"]
                ),
                num_images=values["num_images"],
                held_out=values["held_out"],
            )
        except (KeyError, TypeError, CodeError) as error:
            raise DataError(f"'{path}' is damaged: {type(error).__name__}: {error}") from error

    @property
    def supernet_folder(self) -> Path:
        """Where the cells are trained."""
        return self.out / "supernet"

    @property
    def ratings_folder(self) -> Path:
        """Where the ratings are."""
        return self.out / "ratings"

    def teacher(self) -> Teacher:
        """The teacher with its weights."""
        return Teacher(self._model(), self.taps, name=self.model)

    def split(self) -> tuple[ImageSource, ImageSource]:
        """Images to train on, and those to rate with."""
        return hold_out(self.images.load("train", self.num_images), self.held_out)

    def supernet(self) -> Supernet:
        """The trained supernet."""
        return load_supernet(self.supernet_folder, self.space, self.teacher())

    def _model(self) -> Any:
        model = build_for_images(self.model, self.space.head.num_classes, self.space.image_size)
        load_weights(model, self.weights)
        return model.eval()

    def _to_dict(self) -> dict[str, Any]:
        images = {"data": self.images.data, "data_root": self.images.data_root, "image_size": self.images.image_size}
        values = {key: value for key, value in asdict(self).items() if key != "out"}
        values |= {"images": images, "space": self.space.to_dict()}
        found: dict[str, Any] = json.loads(json.dumps({"format": _FORMAT, "version": _VERSION} | values, default=str))
        return found


def read_ratings(files: tuple[Path, ...], space: Space | None, measure: str) -> Ratings:
    """Ratings of a folder or of files, those of the published program among them.

    Args:
        files: a folder of a search, a folder of ratings, or files; of ``.yaml`` files the first is of stage 0.
        space: of the ratings; None for that of the folder of a search.
        measure: to search by.

    Raises:
        DataError: if they are missing, damaged, or of another space, or the space is not known.
    """
    if len(files) == 1 and files[0].is_dir():
        (folder,) = files
        run = DnaRun.load(folder) if (folder / _FILE).exists() else None
        space = run.space if space is None and run is not None else space
        if space is None:
            raise DataError(f"'{folder}' is no folder of a search; say by --space which space its ratings are of")
        return Ratings.load(folder if run is None else run.ratings_folder, space, measure)
    if not files or space is None:
        raise DataError("files of ratings need --space, and a search needs ratings: a folder, or a file for each cell")
    cells = tuple(
        import_published(path, space, stage, measure=measure)
        if path.suffix in (".yaml", ".yml")
        else CellRatings.load(path, space)
        for stage, path in enumerate(files)
    )
    return Ratings(space=space, cells=cells, measure=measure)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"'{path}' is damaged: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"'{path}' is damaged: an object was expected (got {type(found).__name__})")
    return found
