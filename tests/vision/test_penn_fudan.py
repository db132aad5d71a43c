import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes

from ppuda_like.errors import DataError
from ppuda_like.vision import generate_pedestrians, penn_fudan
from ppuda_like.vision._archive import unpacked


def write(root: Path, name: str, numbers: np.ndarray) -> None:
    """An image and its mask."""
    for folder in ("PNGImages", "PedMasks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", numbers.shape[::-1], (10, 20, 30)).save(root / "PNGImages" / f"{name}.png")
    Image.fromarray(numbers).save(root / "PedMasks" / f"{name}_mask.png")


def one_person(height: int = 20, width: int = 30) -> np.ndarray:
    numbers = np.zeros((height, width), dtype=np.uint8)
    numbers[3:9, 4:6] = 1
    return numbers


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_pedestrians(tmp_path_factory.mktemp("made") / "PennFudanPed", 12, size=(48, 64))


# ------------------------------------------------------------------------------------------------------- items


def test_an_item(tmp_path: Path) -> None:
    numbers = one_person()
    numbers[0:20, 20:30] = 7
    write(tmp_path, "a", numbers)
    image, target = penn_fudan(tmp_path, with_masks=True)[0]
    assert isinstance(image, tv_tensors.Image)
    torch.testing.assert_close(image[:, 0, 0] * 255, torch.tensor([10.0, 20.0, 30.0]))
    assert image.shape == (3, 20, 30)
    assert target["boxes"].tolist() == [[4, 3, 6, 9], [20, 0, 30, 20]]
    assert target["boxes"].canvas_size == (20, 30)
    assert target["area"].tolist() == [12, 200] == target["masks"].sum(dim=(1, 2)).tolist()
    assert target["labels"].tolist() == [1, 1]
    assert target["iscrowd"].tolist() == [0, 0]
    assert target["image_id"] == 0


boxes = st.tuples(st.integers(0, 28), st.integers(0, 28), st.integers(2, 12), st.integers(2, 12))


@settings(max_examples=30)
@given(box=boxes)
def test_a_box_has_exactly_the_extent_of_its_pixels(
    box: tuple[int, int, int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    x, y, wide, tall = box
    numbers = np.zeros((40, 40), dtype=np.uint8)
    numbers[y : y + tall, x : x + wide] = 3
    root = tmp_path_factory.mktemp("box")
    write(root, "a", numbers)
    target = penn_fudan(root)[0][1]
    assert target["boxes"].tolist() == [[x, y, x + wide, y + tall]]
    assert target["area"].tolist() == [wide * tall]


def test_boxes_are_those_of_torchvision_with_the_last_pixel_in(made: Path) -> None:
    data = penn_fudan(made, with_masks=True)
    for image, target in (data[i] for i in range(len(data))):
        expected = masks_to_boxes(target["masks"]) + torch.tensor([0, 0, 1, 1])
        assert torch.equal(torch.as_tensor(target["boxes"]), expected)
        assert image.min() >= 0
        assert image.max() <= 1


@pytest.mark.parametrize("mode", ["P", "I;16", "1"])
def test_masks_may_be_stored_in_any_way_that_holds_numbers(tmp_path: Path, mode: str) -> None:
    write(tmp_path, "a", one_person())
    path = tmp_path / "PedMasks" / "a_mask.png"
    mask = Image.fromarray(one_person() * (255 if mode == "1" else 1))
    if mode == "P":
        mask.putpalette([0, 0, 0, 255, 0, 0])
    elif mode == "1":
        mask = mask.convert("1")
    else:
        mask = Image.fromarray(one_person().astype(np.uint16))
    mask.save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    assert penn_fudan(tmp_path)[0][1]["boxes"].tolist() == [[4, 3, 6, 9]]


# ------------------------------------------------------------------------------------------------------ splits


def test_splits_partition_the_images(made: Path) -> None:
    train, test = (penn_fudan(made, split, num_test=5) for split in ("train", "test"))
    assert (len(train), len(test)) == (7, 5)
    assert sorted(train.images + test.images) == list(penn_fudan(made).images)
    assert sorted(train.image_ids + test.image_ids) == list(range(12))
    assert all(penn_fudan(made).images[i] == image for i, image in zip(test.image_ids, test.images, strict=True))
    assert test[0][1]["image_id"] == test.image_ids[0]


def test_the_split_depends_on_names_alone(made: Path, tmp_path: Path) -> None:
    for file in (made / "PNGImages").iterdir():
        write(tmp_path, file.stem, one_person())
    names = [[path.name for path in penn_fudan(root, "test", num_test=4).images] for root in (made, tmp_path)]
    assert names[0] == names[1]
    write(tmp_path, "another", one_person())
    more = {path.name for path in penn_fudan(tmp_path, "test", num_test=4).images}
    assert len(more & set(names[0])) >= 3


def test_the_published_size_of_the_test_split(tmp_path: Path) -> None:
    for i in range(60):
        write(tmp_path, f"{i:02}", one_person())
    assert len(penn_fudan(tmp_path, "test")) == 50
    assert len(penn_fudan(tmp_path, "train")) == 10


@pytest.mark.parametrize("num_test", [0, 12, 50])
def test_no_split_is_left_empty(made: Path, num_test: int) -> None:
    with pytest.raises(DataError, match=rf"'num_test' must be in 1\.\.11.*got {num_test}\)"):
        penn_fudan(made, "train", num_test=num_test)


def test_unknown_split(made: Path) -> None:
    with pytest.raises(DataError, match="unknown split 'val'"):
        penn_fudan(made, "val")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- mistakes


def test_missing_data_say_where_they_are(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"no Penn-Fudan data at .*download PennFudanPed.zip from https://"):
            penn_fudan(root)


@pytest.mark.parametrize(("folder", "kind"), [("PNGImages", "image"), ("PedMasks", "mask")])
def test_what_has_no_counterpart_is_named(tmp_path: Path, folder: str, kind: str) -> None:
    write(tmp_path, "a", one_person())
    write(tmp_path, "b", one_person())
    next((tmp_path / folder).glob("b*")).unlink()
    with pytest.raises(DataError, match=rf"has no {kind} of the name 'b' beside it"):
        penn_fudan(tmp_path)


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "PNGImages").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        penn_fudan(tmp_path)


def _colours(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers] * 3, axis=2)


def _line(numbers: np.ndarray) -> np.ndarray:
    numbers[:] = 0
    numbers[3:9, 4] = 1
    return numbers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda numbers: numbers * 0, "holds no person"),
        (lambda numbers: numbers[:-1], r"size of its image, \(20, 30\) \(got \(19, 30\)\)"),
        (_colours, "store numbers, not colours"),
        (_line, "is 6 pixels high and 1 wide, which must be a mistake"),
    ],
)
def test_bad_masks(tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    write(tmp_path, "a", one_person())
    Image.fromarray(change(one_person())).save(tmp_path / "PedMasks" / "a_mask.png")
    data = penn_fudan(tmp_path)
    with pytest.raises(DataError, match=message):
        data[0]


@pytest.mark.parametrize("file", ["PNGImages/a.png", "PedMasks/a_mask.png"])
@pytest.mark.parametrize("length", [0, 60])
def test_unreadable_files_are_named(tmp_path: Path, file: str, length: int) -> None:
    write(tmp_path, "a", one_person())
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:length])
    with pytest.raises(DataError, match=rf"unreadable image '.*{file}'"):
        penn_fudan(tmp_path)[0]


# ---------------------------------------------------------------------------------------------------- archives


def pack(made: Path, path: Path, prefix: str = "PennFudanPed") -> Path:
    files = [file for file in made.rglob("*") if file.is_file()]
    extra = (f"{prefix}/readme.txt", b"about the data")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(*extra)
            for file in files:
                packed.write(file, f"{prefix}/{file.relative_to(made)}")
    else:
        with tarfile.open(path, "w:gz") as taped:
            info = tarfile.TarInfo(extra[0])
            info.size = len(extra[1])
            taped.addfile(info, io.BytesIO(extra[1]))
            for file in files:
                taped.add(file, f"{prefix}/{file.relative_to(made)}")
    return path


@pytest.mark.parametrize("name", ["PennFudanPed.zip", "PennFudanPed.tar.gz"])
def test_an_archive_reads_as_the_folder_it_holds(made: Path, tmp_path: Path, name: str) -> None:
    archive = pack(made, tmp_path / name)
    data, expected = penn_fudan(archive), penn_fudan(made)
    assert len(data) == len(expected) == 12
    for (image, target), (image2, target2) in ((data[i], expected[i]) for i in range(12)):
        assert torch.equal(image, image2)
        assert torch.equal(target["boxes"], target2["boxes"])
    (folder,) = (entry for entry in tmp_path.iterdir() if entry.is_dir())
    assert not list(folder.rglob("*.txt")), "only images and masks are wanted"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    penn_fudan(archive)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_another_archive_of_the_same_name_is_unpacked_anew(made: Path, tmp_path: Path) -> None:
    first = penn_fudan(pack(made, tmp_path / "data.zip"))
    small = generate_pedestrians(tmp_path / "small", 3, size=(32, 32))
    second = penn_fudan(pack(small, tmp_path / "data.zip"))
    assert (len(first), len(second)) == (12, 3)


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
@pytest.mark.parametrize("evil", ["../PNGImages/a.png", "/tmp/PNGImages/a.png", "p/../../PNGImages/a.png"])
def test_an_archive_cannot_write_elsewhere(tmp_path: Path, name: str, evil: str) -> None:
    place = tmp_path / "inside"
    place.mkdir()
    archive = place / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr(evil, b"harm")
    else:
        with tarfile.open(archive, "w:gz") as taped:
            info = tarfile.TarInfo(evil)
            info.size = 4
            taped.addfile(info, io.BytesIO(b"harm"))
    with pytest.raises(DataError, match="outside its folder"):
        penn_fudan(archive)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == [archive]
    assert [path for path in place.iterdir() if path.suffix != ".lock"] == [archive]


def test_archives_that_are_none_hold_nothing_or_too_much(made: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.zip"
    text.write_text("no archive")
    with pytest.raises(DataError, match=r"cannot unpack .*: it is neither a zip nor a tar file"):
        penn_fudan(text)
    with zipfile.ZipFile(text, "w") as packed:
        packed.writestr("readme.txt", b"nothing")
    with pytest.raises(DataError, match="none of the files wanted"):
        penn_fudan(text)
    with pytest.raises(DataError, match="more than 1,000 bytes unpacked; unpack it yourself"):
        unpacked(pack(made, tmp_path / "b.zip"), tmp_path, ("*.png",), most_bytes=1_000)
    assert not [entry for entry in tmp_path.iterdir() if entry.is_dir()]


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_damaged_archive(made: Path, tmp_path: Path, name: str) -> None:
    archive = pack(made, tmp_path / name)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    archive.write_bytes(content)
    with pytest.raises(DataError, match="cannot unpack"):
        penn_fudan(archive)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == [archive]


# ----------------------------------------------------------------------------------------------- generated data


def test_generated_images_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    roots = [
        generate_pedestrians(tmp_path / name, count, size=(32, 48), seed=seed)
        for name, count, seed in (("a", 2, 1), ("b", 4, 1), ("c", 2, 2))
    ]
    first, second, other = (penn_fudan(root) for root in roots)
    assert torch.equal(first[1][0], second[1][0])
    assert torch.equal(first[1][1]["boxes"], second[1][1]["boxes"])
    assert not torch.equal(first[1][0], other[1][0])


def test_generated_figures_are_of_a_reasonable_size(made: Path) -> None:
    for _, target in (penn_fudan(made)[i] for i in range(12)):
        wide, tall = (target["boxes"][:, 2:] - target["boxes"][:, :2]).unbind(1)
        assert 1 <= len(wide) <= 3
        assert bool((tall >= 8).all())
        assert bool((wide >= 4).all())


def test_generating_replaces_nothing(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists; delete it or choose another folder"):
        generate_pedestrians(made, 1)
    with pytest.raises(DataError, match="at least 1 image of at least 32x32"):
        generate_pedestrians(tmp_path / "x", 0)
    with pytest.raises(DataError, match="at least 1 image of at least 32x32"):
        generate_pedestrians(tmp_path / "x", 1, size=(16, 64))
    assert not list(tmp_path.iterdir())
