import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision._decode import UnreadableImageError, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


WHOLE = {kind: encoded(kind) for kind in ("png", "jpeg", "bmp", "gif", "ppm", "webp")}


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(WHOLE["png"])
    assert torch.equal(read_image(tmp_path / "a.png"), torch.from_numpy(PIXELS).permute(2, 0, 1))
    assert read_image(tmp_path / "a.png", 5).shape == (3, 5, 5)


@settings(max_examples=300)
@given(st.sampled_from(list(WHOLE)), st.data())
def test_damage_gives_an_image_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        assert str(path) in str(error)  # noqa: PT017 (either is right)
    except Image.DecompressionBombWarning:
        pass  # an error here because all warnings are
    else:
        assert image.dtype == torch.uint8


def test_an_image_too_large_to_be_one_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(WHOLE["png"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(UnreadableImageError, match="decompression bomb"):
        read_image(tmp_path / "a.png")


def test_a_file_that_cannot_be_opened_is_not_an_unreadable_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot open image '.*none.png': No such file") as found:
        read_image(tmp_path / "none.png")
    assert not isinstance(found.value, UnreadableImageError)
