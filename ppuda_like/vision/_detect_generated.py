"""Generated street scenes in the layout of Penn-Fudan, for tests and trials without a download."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError

__all__ = ["generate_pedestrians"]

Box = tuple[float, float, float, float]


def generate_pedestrians(
    root: str | Path, num_images: int, *, size: tuple[int, int] = (96, 128), seed: int = 0
) -> Path:
    """Write small pictures of simple figures, each a head, a body and two legs, with their masks.

    The background is smooth noise, with ellipses, bars and triangles that are no figures.  Figures may hide a part of
    each other; masks hold what is visible.  Image i depends on the seed, the size and i alone.

    Args:
        root: the folder to make, to be read by :func:`penn_fudan`; it appears complete or not at all.
        num_images: how many.
        size: height and width in pixels, 32 or more.
        seed: of everything random.

    Returns:
        The folder.

    Raises:
        DataError: if the folder exists, or there are no images or too small ones to be made.
    """
    root = Path(root)
    if num_images < 1 or min(size) < 32:
        raise DataError(f"at least 1 image of at least 32x32 pixels can be made (got {num_images} of {size})")
    if root.exists():
        raise DataError(f"'{root}' exists; delete it or choose another folder to write the generated images to")
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        for folder in ("PNGImages", "PedMasks"):
            (temporary / folder).mkdir()
        for number in range(num_images):
            image, mask = _scene(np.random.default_rng(derived_seed(seed, "pedestrians", number)), *size)
            image.save(temporary / "PNGImages" / f"Made{number + 1:05}.png")
            mask.save(temporary / "PedMasks" / f"Made{number + 1:05}_mask.png")
        temporary.chmod(0o755)  # mkdtemp makes folders for the owner alone
        temporary.rename(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def _scene(random: np.random.Generator, height: int, width: int) -> tuple[Image.Image, Image.Image]:
    image = _background(random, height, width)
    mask = Image.new("L", (width, height))
    draw, numbers = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    for _ in range(random.integers(2, 6)):
        _distractor(random, draw, height, width)
    placed: list[Box] = []
    wanted = int(random.integers(1, 4))
    while len(placed) < wanted:
        tall = float(random.uniform(0.35, 0.8)) * height
        wide = min(tall * float(random.uniform(0.3, 0.45)), width / 2)
        left = float(random.uniform(0, width - wide))
        top = float(random.uniform(0, height - tall))
        box = (left, top, left + wide, top + tall)
        if any(_hidden(other, box) > 0.3 for other in placed):
            wanted -= 1  # crowded: one less instead of one on top of another
            continue
        placed.append(box)
        _figure(random, draw, numbers, box, len(placed))
    grain = random.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.array(image) + grain, 0, 255).astype(np.uint8)), mask


def _background(random: np.random.Generator, height: int, width: int) -> Image.Image:
    coarse = random.integers(40, 216, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _distractor(random: np.random.Generator, draw: ImageDraw.ImageDraw, height: int, width: int) -> None:
    x, y = float(random.uniform(0, width)), float(random.uniform(0, height))
    w, h = (float(side) for side in random.uniform(0.1, 0.35, 2) * (width, height))
    kind = int(random.integers(3))
    if kind == 0:
        draw.ellipse((x, y, x + w, y + h), fill=_colour(random))
    elif kind == 1:
        draw.rectangle((x, y, x + w, y + h), fill=_colour(random))
    else:
        draw.polygon(((x, y + h), (x + w, y + h), (x + w / 2, y)), fill=_colour(random))


def _figure(
    random: np.random.Generator, draw: ImageDraw.ImageDraw, numbers: ImageDraw.ImageDraw, box: Box, number: int
) -> None:
    """Draw a figure that fills the box, the same shapes in the image and in the mask."""
    left, top, right, bottom = box
    wide, tall = right - left, bottom - top
    hip, neck = top + 0.55 * tall, top + 0.22 * tall
    head = (left + 0.28 * wide, top, right - 0.28 * wide, neck)
    body = (left + 0.1 * wide, neck, right - 0.1 * wide, hip)
    legs = [
        ((left + side * wide, hip), (left + (side + 0.3) * wide, hip), (left + (foot + 0.2) * wide, bottom - 1),
         (left + foot * wide, bottom - 1))
        for side, foot in ((0.12, 0.02), (0.58, 0.76))
    ]  # fmt: skip
    skin, coat, trousers = (_colour(random) for _ in range(3))
    for canvas, colours in ((draw, (skin, coat, trousers)), (numbers, (number,) * 3)):
        canvas.ellipse(head, fill=colours[0])
        canvas.rectangle(body, fill=colours[1])
        for leg in legs:
            canvas.polygon(leg, fill=colours[2])


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _hidden(lower: Box, upper: Box) -> float:
    """Share of a box that another one covers."""
    wide = min(lower[2], upper[2]) - max(lower[0], upper[0])
    tall = min(lower[3], upper[3]) - max(lower[1], upper[1])
    return max(0.0, wide) * max(0.0, tall) / ((lower[2] - lower[0]) * (lower[3] - lower[1]))
