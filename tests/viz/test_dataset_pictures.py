"""Pictures of a data set: files, names, errors."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from test_picture import draw_picture

from sodkit.data.formats import read_annotations
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Detections, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.synthetic import make_dataset
from sodkit.viz.content import Style
from sodkit.viz.dataset_pictures import picture_names, visualize
from sodkit.viz.picture import most_below


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    path = make_dataset(folder, images=3, seed=1, width=320, height=240)
    return folder, read_annotations(path)


def pixels(path):
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_one_picture_an_image(data, tmp_path):
    folder, annotations = data
    calls = []
    paths = visualize(
        annotations,
        folder,
        tmp_path / "out",
        style=Style(zoom=2),
        progress=lambda *a: calls.append(a),
    )
    assert [path.name for path in paths] == [f"train_000{k}.jpg" for k in (1, 2, 3)]
    assert sorted(tmp_path.joinpath("out").glob("[!.]*")) == paths
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert pixels(paths[0]).shape[1] == 320


def test_limit(data, tmp_path):
    folder, annotations = data
    assert len(visualize(annotations, folder, tmp_path / "out", limit=2)) == 2


def test_zoom_on_detections_where_nothing_is_annotated(data, tmp_path):
    """A bare list of images, as predict writes it beside its detections."""
    folder, annotations = data
    bare = annotations.take(np.zeros(len(annotations), bool))
    box = np.array([[100.0, 100, 30, 30]])
    found = Detections(np.array([annotations.images[0].id]), np.array([0]), np.array([0.9]), box)
    plain, zoomed = (
        visualize(
            bare, folder, tmp_path / str(zoom), detections=found, style=Style(zoom=zoom), limit=1
        )[0]
        for zoom in (0, 2)
    )
    assert pixels(zoomed).shape[0] > pixels(plain).shape[0]


def test_detections_go_to_their_image(data, tmp_path):
    folder, annotations = data
    ids = annotations.images[1].id
    bare = annotations.take(np.zeros(len(annotations), bool))
    box = np.array([[100.0, 100, 30, 30]])
    found = Detections(np.array([ids]), np.array([0]), np.array([0.9]), box)
    plain = visualize(bare, folder, tmp_path / "a")
    drawn = visualize(bare, folder, tmp_path / "b", detections=found)
    same = [
        np.array_equal(pixels(a)[:240], pixels(b)[:240]) for a, b in zip(plain, drawn, strict=True)
    ]
    assert same == [True, False, True]


def test_two_predictions_stand_side_by_side(data, tmp_path):
    folder, annotations = data
    box = np.array([[100.0, 100, 30, 30]])
    ids = np.array([annotations.images[1].id])
    left, right = (Detections(ids, np.array([0]), np.array([s]), box) for s in (0.9, 0.1))
    one, other, both = (
        [
            pixels(path)
            for path in visualize(
                annotations, folder, tmp_path / name, detections=first, beside=second
            )
        ]
        for name, first, second in (("a", left, None), ("b", right, None), ("c", left, right))
    )
    for a, b, c in zip(one, other, both, strict=True):
        assert c.shape[1] == 320 + 8 + 320
        assert np.abs(c[:240, :320].astype(int) - a[:240]).mean() < 1
        assert np.abs(c[:240, 328:].astype(int) - b[:240]).mean() < 1
    kept = visualize(
        annotations, folder, tmp_path / "d", detections=right, beside=left,
        style=Style(only="false"),
    )  # fmt: skip
    assert [path.name for path in kept] == ["train_0002.jpg"]  # what the right one has of them


def test_greyscale_images_are_drawn_on(tmp_path, data):
    _, annotations = data
    grey = np.full((240, 320), 90, np.uint8)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/train_0001.jpg"), grey)
    path = visualize(annotations, tmp_path, tmp_path / "out", limit=1)[0]
    assert np.ptp(pixels(path)[:240].astype(int), axis=2).max() > 50


def test_missing_image_is_named_before_anything_is_written(data, tmp_path):
    folder, annotations = data
    gone = replace(annotations.images[2], file_name="images/gone.jpg")
    broken = replace(annotations, images=(*annotations.images[:2], gone))
    with pytest.raises(DataError, match=r"gone\.jpg.*image 3 not found"):
        visualize(broken, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_image_of_another_size_is_named(data, tmp_path):
    _, annotations = data
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images/train_0001.jpg", np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(DataError, match="100 x 100"):
        visualize(annotations, tmp_path, tmp_path / "out", limit=1)
    assert not list((tmp_path / "out").glob("*"))


def test_a_taken_folder_needs_overwrite(data, tmp_path):
    folder, annotations = data
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        visualize(annotations, folder, tmp_path)
    with pytest.raises(UsageError, match="not written by sodkit"):
        visualize(annotations, folder, tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_overwrite_replaces_earlier_pictures_and_leaves_other_files(data, tmp_path):
    folder, annotations = data
    first = visualize(annotations, folder, tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        visualize(annotations, folder, tmp_path)
    assert visualize(annotations, folder, tmp_path, limit=1, overwrite=True) == first[:1]
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"mine.txt", first[0].name}


def test_pictures_never_replace_the_images(data, tmp_path):
    """Pictures are named after the images: drawn into their folder they would take their place."""
    folder, annotations = data
    shutil.copytree(folder, tmp_path / "own")
    before = {path: path.read_bytes() for path in (tmp_path / "own/images").iterdir()}
    with pytest.raises(UsageError, match="not written by sodkit"):
        visualize(annotations, tmp_path / "own", tmp_path / "own/images", overwrite=True)
    assert before == {path: path.read_bytes() for path in (tmp_path / "own/images").iterdir()}


def test_a_picture_that_windows_could_not_hold_is_refused(data, tmp_path):
    folder, annotations = data
    images = tuple(replace(image, file_name="aux.1.jpg") for image in annotations.images)
    for image in images:
        (tmp_path / image.file_name).write_bytes(
            (folder / annotations.images[0].file_name).read_bytes()
        )
    with pytest.raises(DataError, match="device on Windows") as caught:
        visualize(replace(annotations, images=images[:1] + annotations.images[1:]), tmp_path,
                  tmp_path / "out", limit=1)  # fmt: skip
    assert caught.value.where == "aux.1.jpg"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", [{"style": Style(score=1.5)}, {"style": Style(zoom=-1)}, {"limit": 0}]
)
def test_impossible_numbers_are_refused(data, tmp_path, change):
    folder, annotations = data
    with pytest.raises(UsageError, match="cannot draw"):
        visualize(annotations, folder, tmp_path / "out", **change)


def test_pictures_of_one_name_get_their_id():
    files = ["a/1.jpg", "b/1.png", "b\\2.jpg", "A/X.jpg", "a/x.jpg", "../../up.jpg"]
    records = [ImageRecord(k, name, 10, 10) for k, name in enumerate(files)]
    names = picture_names(records)
    assert names == ["1_0.jpg", "1_1.jpg", "2.jpg", "X_3.jpg", "x_4.jpg", "up.jpg"]


def test_names_of_pictures_fit_and_differ():
    """A name of 255 bytes leaves no room for an id or another suffix."""
    long = ["a" * 251 + ".jpg", "b/" + "a" * 251 + ".png", "ä" * 120 + "x.b", "c" * 253 + ".b"]
    names = picture_names([ImageRecord(k, name, 10, 10) for k, name in enumerate(long)])
    assert len(set(names)) == len(names)
    assert max(len(name.encode()) for name in names) <= 255
    assert names[2] == "ä" * 120 + "x.jpg"


def test_what_a_jpeg_cannot_hold_becomes_a_png():
    sizes = [(65_500, 100), (65_501, 100), (100, 65_500), (64, 60_000)]
    records = [ImageRecord(k, f"{k}.bmp", *size) for k, size in enumerate(sizes)]
    assert picture_names(records) == ["0.jpg", "1.png", "2.png", "3.jpg"]
    # 200 zoom-ins of 64 px below each other
    assert picture_names(records, zoom=200)[3] == "3.png"


@pytest.mark.parametrize(("width", "zoom"), [(64, 3), (320, 1), (320, 7), (2000, 40)])
def test_room_for_what_is_below(data, width, zoom):
    _, annotations = data
    image = np.zeros((50, width, 3), np.uint8)
    truth = annotations.take(annotations.image_index == 0)
    picture = draw_picture(image, truth.categories, truth, None, Style(zoom=zoom))
    assert picture.shape[0] - 50 <= most_below(width, zoom, len(truth.categories))


def test_a_picture_wider_than_a_jpeg(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((8, 65_600, 3), np.uint8))
    image = ImageRecord(1, "a.png", 65_600, 8)
    none = Annotations(
        (image,), (), *(np.zeros(0, np.int64) for _ in range(3)),
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool),
    )  # fmt: skip
    (path,) = visualize(none, tmp_path, tmp_path / "out")
    assert path.name == "a.png"
    assert pixels(path).shape[1] == 65_600


def some_found(annotations):
    """Return the first object of the first image, rightly found, and a false one elsewhere."""
    rows = np.flatnonzero(~annotations.ignore & (annotations.image_index == 0))[:2]
    labels = annotations.labels[rows].copy()
    labels[1] = (labels[1] + 1) % len(annotations.categories)
    ids = np.full(2, annotations.images[0].id)
    return Detections(ids, labels, np.array([0.9, 0.8]), annotations.xywh[rows])


def test_only_images_with_such_boxes_are_drawn(data, tmp_path):
    folder, annotations = data
    found = some_found(annotations)
    false = visualize(
        annotations, folder, tmp_path / "false", detections=found, style=Style(only="false")
    )
    assert [path.name for path in false] == ["train_0001.jpg"]
    counts = np.bincount(annotations.image_index[~annotations.ignore], minlength=3)
    missed = visualize(
        annotations, folder, tmp_path / "missed", detections=found, style=Style(only="missed")
    )
    assert len(missed) == (counts - [1, 0, 0] > 0).sum()


def test_a_comparison_is_another_picture_and_needs_both(data, tmp_path):
    folder, annotations = data
    found = some_found(annotations)
    plain = visualize(annotations, folder, tmp_path / "a", detections=found, limit=1)[0]
    compared = visualize(
        annotations, folder, tmp_path / "b", detections=found, compare=True, limit=1
    )[0]
    assert (
        pixels(plain).shape != pixels(compared).shape or (pixels(plain) != pixels(compared)).any()
    )
    with pytest.raises(UsageError, match="needs predictions"):
        visualize(annotations, folder, tmp_path / "c", compare=True)
    empty = annotations.take(np.zeros(len(annotations), np.bool_))
    with pytest.raises(UsageError, match="needs objects, and the annotations hold none"):
        visualize(empty, folder, tmp_path / "c", detections=found, compare=True)
    with pytest.raises(UsageError, match="no area is from"):
        visualize(annotations, folder, tmp_path / "c", style=Style(areas=(5, 4)))
    assert not (tmp_path / "c").exists()
