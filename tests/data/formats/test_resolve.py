"""Image names with another suffix, or of another machine, are the one file that they can mean."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import find_images, read_annotations
from sodkit.data.images.decoding import write_image
from sodkit.errors import DataError


def save(folder: Path, *names: str) -> Path:
    images = [
        {"id": i, "file_name": name, "width": 96, "height": 64} for i, name in enumerate(names)
    ]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (folder / "ann.json").write_text(json.dumps(content))
    return folder / "ann.json"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.zeros((64, 96, 3), np.uint8))


@pytest.mark.parametrize(
    "name", ["00001.PNG", "/home/me/images/00001.jpg", "D:\\data\\images\\00001.jpg"]
)
def test_the_one_file_is_taken(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    picture(tmp_path / "images" / "00001.jpg")
    path = save(tmp_path, name)
    with caplog.at_level(logging.WARNING):
        own = read_annotations(path)
    assert [image.file_name for image in own.images] == ["00001.jpg"]
    assert find_images(path, own) == tmp_path / "images"
    assert "00001.jpg" in caplog.text
    assert read_annotations(path, images=tmp_path / "images").images == own.images


SIZE = "<size><width>96</width><height>64</height></size>"
XML = "<annotation><filename>{}</filename>" + SIZE + "</annotation>"
POLY = [1, 1, 9, 1, 9, 9, 1, 9]
PROPERTIES = {"bounds_imcoords": "1,1,9,9", "type_id": 18}


def write_label(root: Path, form: str, name: str) -> Path:
    """Write annotations of one image of a format that states names."""
    sides = {"width": 96, "height": 64}
    texts = {
        "voc": ("Annotations/1.xml", XML.format(name)),
        "voc, no size": ("Annotations/1.xml", XML.replace(SIZE, "").format(name)),
        "soda-a": ("ann/1.json", {"annotations": [{"poly": POLY, "category_id": 1}],
                                  "images": {"file_name": name, **sides}}),
        "soda-a, no size": ("ann/1.json", {"annotations": [{"poly": POLY, "category_id": 1}],
                                           "filename": name}),
        "bdd100k": ("det.json", [{"name": name, "labels": [
            {"category": "car", "box2d": {"x1": 1, "y1": 1, "x2": 9, "y2": 9}}]}]),
        "xview": ("x.geojson", {"features": [{"properties": {"image_id": name, **PROPERTIES}}]}),
    }  # fmt: skip
    place, content = texts[form]
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text(content if isinstance(content, str) else json.dumps(content))
    return (root / place).parent if "/" in place else root / place


@pytest.mark.parametrize(
    "name", ["1.PNG", "/home/me/1.jpg", "D:\\data\\1.bmp", "../../media/1.jpg"]
)
@pytest.mark.parametrize(
    "form", ["voc", "voc, no size", "soda-a", "soda-a, no size", "bdd100k", "xview"]
)
def test_all_formats_that_state_names(
    tmp_path: Path, form: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "images" / "1.jpg")
    with caplog.at_level(logging.WARNING):
        own = read_annotations(write_label(tmp_path, form, name))
    image = own.images[0]
    assert (len(own.images), image.file_name) == (1, "1.jpg")
    assert (image.width, image.height) == (96, 64)
    assert f"first: {name} is 1.jpg" in caplog.text


@pytest.mark.parametrize("form", ["voc", "soda-a", "bdd100k", "xview"])
def test_a_path_that_fits_no_file_is_refused(tmp_path: Path, form: str) -> None:
    picture(tmp_path / "images" / "2.jpg")
    with pytest.raises(DataError, match=r"of another machine, and no file here|no image of this"):
        read_annotations(write_label(tmp_path, form, "/home/me/1.jpg"))


def test_the_folder_of_the_images_itself_may_be_named(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "1.jpg")
    path = save(tmp_path, "images/1.jpg")
    own = read_annotations(path, images=tmp_path / "images")
    assert [image.file_name for image in own.images] == ["1.jpg"]
    assert [image.file_name for image in read_annotations(path).images] == ["images/1.jpg"]


@pytest.mark.parametrize("name", ["..", "/", "a/..", "\\"])
def test_a_path_without_a_name_is_never_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no file here"):
        read_annotations(save(tmp_path, name))
    own = read_annotations(save(tmp_path, name), report=lambda error, kind: None)
    assert [image.file_name for image in own.images] == ["0"]


def test_the_longest_end_decides(tmp_path: Path) -> None:
    for part in ("a", "b"):
        picture(tmp_path / "images" / part / "1.jpg")
    own = read_annotations(save(tmp_path, "/mnt/d/x/a/1.jpg"))
    assert [image.file_name for image in own.images] == ["a/1.jpg"]


def test_nothing_is_guessed(tmp_path: Path) -> None:
    for part in ("a", "b"):
        picture(tmp_path / "images" / part / "1.jpg")
    with pytest.raises(DataError, match="of another machine"):
        read_annotations(save(tmp_path, "/mnt/d/x/1.jpg"))
    own = read_annotations(save(tmp_path, "c/1.png"))
    assert [image.file_name for image in own.images] == ["c/1.png"]
    picture(tmp_path / "images" / "2.jpg")
    picture(tmp_path / "images" / "2.bmp")
    own = read_annotations(save(tmp_path, "2.png"))
    assert [image.file_name for image in own.images] == ["2.png"]


def test_files_of_other_data_sets_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is searched above the annotations' folder, also where the path is relative."""
    (tmp_path / "own").mkdir()
    save(tmp_path / "own", "00001.jpg")
    picture(tmp_path / "other" / "images" / "00001.jpg")
    monkeypatch.chdir(tmp_path / "own")
    assert read_annotations(Path("ann.json")).images[0].file_name == "00001.jpg"


def test_a_line_of_very_many_folders_is_no_path(tmp_path: Path) -> None:
    """It is looked up by its last parts only: each of them lists a folder."""
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "train.txt").write_text("nowhere/" * 50_000 + "images/a.jpg\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [car]\n")
    with pytest.raises(DataError, match="none of the 1 images has a label file"):
        read_annotations(tmp_path / "data.yaml")
