"""What a format can hold survives being written and read, exactly or to its stated precision."""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sodkit.data.formats import WRITTEN, read_annotations, recognise
from sodkit.data.formats.conversion import convert
from sodkit.data.records import REGION, Annotations, Category, ImageRecord, Polygons
from sodkit.errors import DataError, UsageError
from sodkit.geometry.rotated import corners_to_obb, obb_to_corners

SIZES = ((640, 480), (333, 777))
NAMES = ("small-vehicle", "aéro & <plane>", "Boeing 747")
FOLDERS = tuple(name for name in WRITTEN if name != "coco")


def make(images: Any, rows: Any, kind: str) -> Annotations:
    """Rows are (image, label, ignore, cx, cy, w, h, angle), in the order of their images."""
    rows = sorted(rows, key=lambda row: row[0])
    table = np.array([row[3:] for row in rows], np.float64).reshape(-1, 5)
    labels = np.array([row[1] for row in rows], np.int64)
    corners = obb_to_corners(table)
    low, high = corners.min(axis=1), corners.max(axis=1)
    xywh = np.concatenate([low, high - low], axis=1)
    obb = corners_to_obb(corners) if len(rows) else np.zeros((0, 5))
    oriented = kind == "oriented"
    return Annotations(
        images=tuple(images),
        categories=tuple(Category(i, name) for i, name in enumerate(NAMES)),
        ids=np.arange(1, len(rows) + 1),
        image_index=np.array([row[0] for row in rows], np.int64),
        labels=labels,
        xywh=xywh,
        area=obb[:, 2] * obb[:, 3] if oriented else xywh[:, 2] * xywh[:, 3],
        ignore=np.array([row[2] for row in rows], np.bool_) | (labels == REGION),
        obb=obb if oriented else None,
        polygons=Polygons(corners.reshape(-1, 2), np.arange(len(rows) + 1) * 4)
        if oriented
        else None,
    )


@st.composite
def data_sets(draw: st.DrawFn) -> Annotations:
    kind = draw(st.sampled_from(["horizontal", "oriented"]))
    images = [
        ImageRecord(number, name, *size)
        for number, (name, size) in enumerate(zip(("a.png", "sub/b.png"), SIZES, strict=True), 1)
    ]
    finite = {"allow_nan": False, "allow_infinity": False}
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 1), st.sampled_from([0, 1, 2, REGION]), st.booleans(),
                st.floats(1, 300, **finite), st.floats(1, 450, **finite),
                st.floats(0.5, 90, **finite), st.floats(0.5, 90, **finite),
                st.just(0.0) if kind == "horizontal" else st.floats(-1.5, 1.5, **finite),
            ),
            min_size=1, max_size=6,
        )
    )  # fmt: skip
    return make(images, rows, kind)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub").mkdir()
    for name, (width, height) in zip(("a.png", "sub/b.png"), SIZES, strict=True):
        cv2.imwrite(str(folder / name), np.zeros((height, width), np.uint8))
    return folder


def round_trip(own: Annotations, format: str, photos: Path) -> tuple[Annotations, list[str]]:
    with TemporaryDirectory() as name:
        out = Path(name) / ("out.json" if format == "coco" else "out")
        lost = convert(own, format, out)
        assert recognise(out) == format
        return read_annotations(out, images=photos), lost


@pytest.mark.parametrize("format", WRITTEN)
@settings(deadline=None, max_examples=25)
@given(own=data_sets())
def test_what_a_format_holds_survives(format: str, photos: Path, own: Annotations) -> None:
    got, lost = round_trip(own, format, photos)
    said = " ".join(lost)
    assert got.images == own.images
    assert [item.name for item in got.categories] == list(NAMES)
    labels, ignore = own.labels, own.ignore
    if format == "yolo":
        labels = np.where(ignore, REGION, labels)
        assert ("became ignore regions" in said) == (labels != own.labels).any()
    np.testing.assert_array_equal(got.labels, labels)
    np.testing.assert_array_equal(got.ignore, ignore)
    np.testing.assert_array_equal(got.image_index, own.image_index)
    exact = {"coco": 0, "soda-a": 0, "dota": 0, "voc": 1e-9, "yolo": 1e-6}[format]
    np.testing.assert_allclose(got.xywh, own.xywh, atol=max(exact, 1e-12), rtol=0)
    if own.kind == "horizontal" and format in {"soda-a", "dota"}:
        assert "upright boxes became oriented ones" in said
        return
    assert got.kind == own.kind
    assert "ids of the" not in said
    if own.polygons is not None and got.polygons is not None and got.obb is not None:
        if format in {"coco", "soda-a", "dota"}:
            np.testing.assert_array_equal(got.polygons.points, own.polygons.points)
        np.testing.assert_allclose(
            np.sort(got.polygons.points.reshape(-1, 4, 2), axis=1),
            np.sort(own.polygons.points.reshape(-1, 4, 2), axis=1),
            atol=max(exact, 1e-12) * 10,
        )


def test_yolo_and_dota_from_and_to_each_other(photos: Path, tmp_path: Path) -> None:
    rows = [(0, 2, False, 100, 90, 40, 10, 0.3), (1, 0, True, 50, 60, 9, 8, -1.0)]
    images = [ImageRecord(1, "a.png", *SIZES[0]), ImageRecord(2, "sub/b.png", *SIZES[1])]
    own = make(images, rows, "oriented")
    convert(own, "dota", tmp_path / "dota")
    text = (tmp_path / "dota/labelTxt/a.txt").read_text()
    assert text.endswith(" Boeing 747 0\n")
    again = read_annotations(tmp_path / "dota", images=photos)
    lost = convert(again, "yolo", tmp_path / "yolo")
    assert lost == [
        "lost: the sizes of the images, they are read from the images",
        "1 ignored objects became ignore regions, of no class",
        "ignore regions are the class 'ignore': other trainers learn it like any class",
        "2 images have to be put into images (--images DIR says where they are)",
        "train and val in data.yaml are the same images: validate on other ones",
    ]
    assert "3: ignore" in (tmp_path / "yolo/data.yaml").read_text()
    last = read_annotations(tmp_path / "yolo", images=photos)
    assert last.labels.tolist() == [2, REGION]


def ultralytics_pairs(data_yaml: Path) -> list[tuple[str, str]]:
    """Return (image, content of its label file) as Ultralytics finds them.

    ``path`` must be absolute, or absent; the label file of an image follows from the image's path:
    the last ``/images/`` becomes ``/labels/``.
    """
    content = yaml.safe_load(data_yaml.read_text())
    root = Path(content["path"])
    assert root.is_absolute()
    assert isinstance(content["names"], dict)
    pairs = []
    for key in ("train", "val"):
        folder = (root / content[key]).resolve()
        images = sorted(p for p in folder.rglob("*.*") if p.suffix in {".png", ".jpg"})
        assert images
        for image in images:
            assert cv2.imread(str(image)) is not None
            head, tail = str(image).rsplit("/images/", 1)
            label = Path(f"{head}/labels/{tail}").with_suffix(".txt")
            pairs.append((image.relative_to(folder).as_posix(), label.read_text()))
    assert pairs[: len(pairs) // 2] == pairs[len(pairs) // 2 :]
    return pairs[: len(pairs) // 2]


@pytest.mark.parametrize("kind", ["horizontal", "oriented"])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("prefix", ["", "images/", "train/images/"])
def test_ultralytics_finds_images_and_labels_of_yolo(
    tmp_path: Path, photos: Path, kind: str, copy: bool, prefix: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(photos, source / prefix, dirs_exist_ok=True)
    rows = [(0, 2, False, 100, 90, 40, 10, 0.0), (1, 0, False, 50, 60, 9, 8, 0.0)]
    images = [
        ImageRecord(1, f"{prefix}a.png", *SIZES[0]), ImageRecord(2, f"{prefix}sub/b.png", *SIZES[1])
    ]  # fmt: skip
    own = make(images, rows, kind)
    out = tmp_path / "images" / "out"
    said = convert(own, "yolo", out, images=source, copy=copy)
    base = "train/" if prefix.startswith("train") else ""
    pairs = ultralytics_pairs(out / "data.yaml")
    assert [name for name, _ in pairs] == [f"{base}a.png", f"{base}sub/b.png"]
    assert [len(text.split()) for _, text in pairs] == [5, 5] if kind == "horizontal" else [9, 9]
    assert [text.split()[0] for _, text in pairs] == ["2", "0"]
    assert (out / f"images/{base}a.png").is_symlink() is not copy
    assert ("2 images were copied" in " ".join(said)) is copy
    assert any("train and val" in sentence for sentence in said)
    assert any("folders named images" in sentence for sentence in said) is (base == "train/")
    got = read_annotations(out)
    np.testing.assert_array_equal(got.labels, own.labels)
    np.testing.assert_allclose(got.xywh, own.xywh, atol=1e-6)


def test_yolo_says_which_images_are_missing(tmp_path: Path, photos: Path) -> None:
    images = [ImageRecord(1, "a.png", *SIZES[0]), ImageRecord(2, "no.png", *SIZES[1])]
    own = make(images, [(0, 0, False, 100, 90, 40, 10, 0.0)], "horizontal")
    said = convert(own, "yolo", tmp_path / "out", images=photos)
    assert f"1 images have to be put into images, they are not in {photos}" in " ".join(said)
    assert f"1 images are links to {photos}" in " ".join(said)


def test_yolo_copies_where_there_are_no_links(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(1, "a privilege is missing")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    own = make([ImageRecord(1, "a.png", *SIZES[0])], [], "horizontal")
    said = convert(own, "yolo", tmp_path / "out", images=photos)
    assert "1 images were copied to images" in said
    assert (tmp_path / "out/images/a.png").read_bytes() == (photos / "a.png").read_bytes()


def test_says_what_is_lost(photos: Path, tmp_path: Path) -> None:
    images = [ImageRecord(9, "a.png", *SIZES[0], 4, "o.jpg", (0, 5))]
    rows = [(0, 0, False, 100, 90, 40, 10, 0.3), (0, REGION, True, 100, 90, 60, 70, 0.0)]
    own = make(images, rows, "oriented")
    assert own.polygons is not None
    five = np.concatenate([own.polygons.points, [[60.0, 90.0]]])
    own = replace(
        own,
        ids=np.array([5, 2]),
        categories=tuple(Category(item.id + 1, item.name) for item in own.categories),
        area=own.area + 3,
        polygons=Polygons(five, np.array([0, 4, 9])),
    )
    said = "\n".join(convert(own, "voc", tmp_path / "voc"))
    for part in ("ids and the order", "ids of the images", "ids of the classes", "2 areas",
                 "1 polygons became the rectangle", "where 1 patches lie"):  # fmt: skip
        assert part in said
    assert "sizes of the images" not in said
    assert convert(own, "coco", tmp_path / "a.json") == []
    assert len(convert(own, "soda-a", tmp_path / "soda")) == 3
    got = read_annotations(tmp_path / "soda")
    assert got.images[0].start == (0, 5)
    assert got.images[0].ori_file_name == "o.png"
    assert [item.id for item in got.categories] == [1, 2, 3]


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    images = [ImageRecord(1, "a.png", 9, 9), ImageRecord(2, "A.jpg", 9, 9)]
    with pytest.raises(DataError, match="share labels"):
        convert(make(images, [], "oriented"), "dota", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "most"), [("yolo", 251), ("voc", 251), ("soda-a", 250)])
def test_a_name_too_long_for_its_label_file(tmp_path: Path, format: str, most: int) -> None:
    fits, longer = ("a" * length + ".b" for length in (most, most + 1))
    own = make([ImageRecord(1, fits, 9, 9)], [], "horizontal")
    convert(own, format, tmp_path / "fits")
    with pytest.raises(DataError, match="more than 255 bytes") as error:
        convert(make([ImageRecord(1, longer, 9, 9)], [], "horizontal"), format, tmp_path / "out")
    assert error.value.where == longer
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_or_left_half_written(tmp_path: Path) -> None:
    own = make([ImageRecord(1, "a.png", 9, 9)], [], "horizontal")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").write_text("precious")
    (tmp_path / "a.json").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        convert(own, "voc", tmp_path / "taken")
    with pytest.raises(UsageError, match="exists already"):
        convert(own, "coco", tmp_path / "a.json")
    odd = replace(own, categories=(Category(0, "3 wheeler"),))
    with pytest.raises(UsageError, match="'3 wheeler' cannot stand"):
        convert(odd, "dota", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "taken"]
