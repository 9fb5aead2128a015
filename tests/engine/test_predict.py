from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sodkit.data.batches import Batch, PatchDetections
from sodkit.data.images.decoding import read_image, write_image
from sodkit.data.images.pixel_source import DecodedOnce, PixelSource
from sodkit.data.records import Detections, ImageRecord
from sodkit.engine.predict import by_image, predict_each, predict_images
from sodkit.engine.predict_options import PredictOptions, parse_bands
from sodkit.engine.window_detection import detect, detect_batches
from sodkit.engine.window_plan import window_batches
from sodkit.errors import DataError, SodkitError, UsageError
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.zoo import build
from sodkit.settings import Keep, Recipe
from sodkit.settings.two_stage import OrientedBox
from sodkit.tiling.gathered import ImageResult

CPU = torch.device("cpu")
OPTIONS = PredictOptions(size=96, stride=64, merge_nms=0.5, batch=3, keep=Keep(score=0.0))


class FindsBlobs(DetectorModule):
    """Stands in for a trained detector: reports each white square of 8 px, in patch pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes = "horizontal"

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, torch.Tensor]:
        return {}

    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        return [self._find(*item) for item in zip(batch.images, batch.scales, strict=True)]

    def _find(self, image: torch.Tensor, scale: tuple[float, float]) -> PatchDetections:
        white = (image[0] > 2.2).nonzero()
        if not len(white):
            return PatchDetections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())
        (y1, x1), (y2, x2) = white.amin(0).tolist(), (white.amax(0) + 1).tolist()
        sx, sy = scale
        box = torch.tensor([[x1 / sx, y1 / sy, x2 / sx, y2 / sy]])
        return PatchDetections(box, torch.tensor([0.9]), torch.tensor([1]))


def picture(folder: Path, name: str, width: int, height: int, at: tuple[int, int]) -> ImageRecord:
    image = np.zeros((height, width, 3), np.uint8)
    x, y = at
    image[y : y + 8, x : x + 8] = 255
    write_image(folder / name, image)
    return ImageRecord(len(name) * 100 + width, name, width, height)


def test_an_object_in_several_windows_is_found_once(recipe: Recipe, tmp_path: Path) -> None:
    record = picture(tmp_path, "a.png", 300, 200, (70, 70))
    found = predict_images(FindsBlobs(), recipe, [record], tmp_path, device=CPU, options=OPTIONS)
    assert found.xywh.tolist() == [[70, 70, 8, 8]]
    assert found.labels.tolist() == [1]
    assert found.image_ids.tolist() == [record.id]


def test_images_come_in_order_and_progress_counts(recipe: Recipe, tmp_path: Path) -> None:
    sizes = [(300, 200), (50, 40), (97, 96), (200, 96), (96, 300)]
    records = [
        picture(tmp_path, f"{'x' * (k + 1)}.png", w, h, (20 + k, 10))
        for k, (w, h) in enumerate(sizes)
    ]
    seen: list[tuple[int, int]] = []
    found = predict_images(
        FindsBlobs(), recipe, records, tmp_path, device=CPU, options=OPTIONS,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert found.image_ids.tolist() == [r.id for r in records]
    assert found.xywh[:, 0].tolist() == [20, 21, 22, 23, 24]
    assert seen == [(k + 1, 5) for k in range(5)]


@pytest.mark.parametrize("scale", [1.0, 1.5, 0.77])
def test_resizing_is_undone_exactly_at_the_far_border(
    recipe: Recipe, tmp_path: Path, scale: float
) -> None:
    wide = recipe.model_copy(update={"input": recipe.input.model_copy(update={"scale": scale})})
    record = picture(tmp_path, "a.png", 333, 77, (325, 69))
    whole = replace(OPTIONS, size=None)
    found = predict_images(FindsBlobs(), wide, [record], tmp_path, device=CPU, options=whole)
    right, bottom = found.xyxy[0, 2:]
    assert (right, bottom) == (pytest.approx(333, abs=1e-3), pytest.approx(77, abs=1e-3))


def test_detections_in_padding_are_dropped(recipe: Recipe, tmp_path: Path) -> None:
    bright = recipe.model_copy(
        update={"input": recipe.input.model_copy(update={"fill": (255, 255, 255)})}
    )
    record = picture(tmp_path, "a.png", 96, 40, (0, 0))
    write_image(tmp_path / "a.png", np.zeros((40, 96, 3), np.uint8))
    found = predict_images(FindsBlobs(), bright, [record], tmp_path, device=CPU, options=OPTIONS)
    assert len(found) == 0


def test_the_result_does_not_depend_on_batches(recipe: Recipe, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = []
    for k, (width, height) in enumerate([(150, 120), (60, 60)]):
        write_image(
            tmp_path / f"{k}.png", rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        )
        records.append(ImageRecord(k + 1, f"{k}.png", width, height))
    torch.manual_seed(0)
    detector = build(recipe.model, 2).eval()
    one, three = (
        predict_images(
            detector, recipe, records, tmp_path, device=CPU,
            options=replace(OPTIONS, batch=batch),
        )
        for batch in (1, 3)
    )  # fmt: skip
    assert len(one) == len(three) > 0
    assert np.allclose(one.xywh, three.xywh, atol=1e-2)


def test_proposals_are_not_merged(recipe: Recipe, tmp_path: Path) -> None:
    record = picture(tmp_path, "a.png", 96, 96, (30, 30))
    detector = build(recipe.model, 2).eval()
    sure = replace(OPTIONS, keep=Keep(score=0.99))  # of detections: proposals pass all the same
    found = predict_images(
        detector, recipe, [record], tmp_path, device=CPU, options=sure.for_proposals(20)
    )
    assert 0 < len(found) <= 20
    assert set(found.labels.tolist()) == {0}


def test_no_images(recipe: Recipe, tmp_path: Path) -> None:
    assert len(predict_images(FindsBlobs(), recipe, [], tmp_path, device=CPU)) == 0


def test_a_broken_image_is_named(recipe: Recipe, tmp_path: Path) -> None:
    records = [picture(tmp_path, f"{k}.png", 96, 96, (1, 1)) for k in range(4)]
    (tmp_path / "2.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"2\.png"):
        predict_images(FindsBlobs(), recipe, records, tmp_path, device=CPU, options=OPTIONS)


def test_a_stride_that_leaves_gaps() -> None:
    with pytest.raises(UsageError, match="leaves gaps"):
        replace(OPTIONS, stride=97)


class FindsTilted(FindsBlobs):
    """Reports each white square of 8 px as an oriented box, a little wider than high."""

    def _find(self, image: torch.Tensor, scale: tuple[float, float]) -> PatchDetections:
        found = super()._find(image, scale)
        obb = torch.zeros(len(found.boxes), 5)
        obb[:, :2] = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        obb[:, 2:] = torch.tensor([9.0, 8.0, 0.5])
        return PatchDetections(found.boxes, found.scores, found.labels, obb)


def test_oriented_windows_are_merged_by_rotated_iou(recipe: Recipe, tmp_path: Path) -> None:
    roi = recipe.model.roi.model_copy(update={"box": OrientedBox()})
    model = recipe.model.model_copy(update={"roi": roi})
    oriented = recipe.model_copy(update={"model": model})
    record = picture(tmp_path, "a.png", 300, 200, (70, 70))
    found = predict_images(FindsTilted(), oriented, [record], tmp_path, device=CPU, options=OPTIONS)
    assert found.obb is not None
    np.testing.assert_allclose(found.obb, [[74, 74, 9, 8, 0.5]], atol=1e-5)
    none = predict_images(FindsTilted(), oriented, [], tmp_path, device=CPU)
    assert none.kind == "oriented"


def test_oriented_detections_centred_in_the_padding_go(recipe: Recipe, tmp_path: Path) -> None:
    bright = recipe.model_copy(
        update={
            "boxes": "oriented",
            "input": recipe.input.model_copy(update={"fill": (255, 255, 255)}),
        }
    )
    record = ImageRecord(1, "b.png", 40, 40)
    write_image(tmp_path / "b.png", np.zeros((40, 40, 3), np.uint8))
    found = predict_images(FindsTilted(), bright, [record], tmp_path, device=CPU, options=OPTIONS)
    assert len(found) == 0


# yolov5#916, biowatch#341: one broken image among thousands
def test_a_broken_image_is_left_out(recipe: Recipe, tmp_path: Path) -> None:
    records = [picture(tmp_path, name, 90, 80, (20, 20)) for name in ("a.png", "bb.png", "ccc.png")]
    (tmp_path / "bb.png").write_bytes(b"no image")
    with pytest.raises(DataError):
        predict_images(FindsBlobs(), recipe, records, tmp_path, device=CPU, options=OPTIONS)
    bad: list[int] = []
    found = predict_images(
        FindsBlobs(), recipe, records, tmp_path, device=CPU, options=OPTIONS,
        on_bad=lambda image, error: bad.append(image.id),
    )  # fmt: skip
    assert found.image_ids.tolist() == [records[0].id, records[2].id]
    assert bad == [records[1].id]


def test_the_recipe_states_the_depth_of_images(recipe: Recipe, tmp_path: Path) -> None:
    record = picture(tmp_path, "a.png", 90, 80, (20, 20))
    pixels = np.zeros((80, 90, 3), np.uint16)
    pixels[20:28, 20:28] = 1023
    cv2.imwrite(str(tmp_path / "a.png"), pixels)

    def find(depth: int | None) -> int:
        own = recipe.model_copy(
            update={"input": recipe.input.model_copy(update={"bit_depth": depth})}
        )
        options = replace(OPTIONS, bit_depth=PredictOptions.of(own).bit_depth)
        found = predict_images(
            FindsBlobs(), own, [record], tmp_path, device=CPU, options=options
        )  # fmt: skip
        return len(found)

    assert find(None) == find(10) == 1
    assert find(12) == 0  # as dark as it is


def noise(folder: Path, sizes: list[tuple[int, int]]) -> list[ImageRecord]:
    rng = np.random.default_rng(0)
    for k, (width, height) in enumerate(sizes):
        write_image(folder / f"{k}.png", rng.integers(0, 255, (height, width, 3)).astype(np.uint8))
    return [ImageRecord(k + 1, f"{k}.png", *size) for k, size in enumerate(sizes)]


def as_bytes(found: Detections | DataError) -> bytes:
    assert isinstance(found, Detections)
    return b"".join(column.tobytes() for column in (found.image_ids, found.scores, found.xywh))


def test_a_run_that_goes_on_finds_the_same_to_the_bit(recipe: Recipe, tmp_path: Path) -> None:
    """The first batch of its part holds windows of the image before, which is done."""
    records = noise(tmp_path, [(150, 120), (60, 60), (150, 60), (96, 96), (97, 50)])
    torch.manual_seed(0)
    detector = build(recipe.model, 2).eval()
    each = partial(
        predict_each, detector, recipe, records, tmp_path, device=CPU,
        options=replace(OPTIONS, batch=4),
    )  # fmt: skip
    whole = [(image.id, as_bytes(found)) for image, found in each()]
    assert [number for number, _ in whole] == [1, 2, 3, 4, 5]
    for first in range(6):
        part = [(image.id, as_bytes(found)) for image, found in each(first=first)]
        assert part == whole[first:]


def test_processes_share_the_batches(recipe: Recipe, tmp_path: Path) -> None:
    """Each runs a share of the plan; in the order of the plan the results are those of one."""
    records = noise(tmp_path, [(150, 120), (60, 60), (150, 60)])
    (tmp_path / "1.png").write_bytes(b"no image")
    torch.manual_seed(0)
    detector = build(recipe.model, 2).eval()
    options = replace(OPTIONS, batch=2)
    run = partial(detect, detector, recipe, options, CPU, None)

    def open_image(image: ImageRecord) -> PixelSource:
        return DecodedOnce(tmp_path / image.file_name, (image.width, image.height))

    plan = list(window_batches(records, options.size, options.stride, options.batch))
    shares = [
        iter(list(detect_batches(run, records, plan[k::2], options, recipe, open_image)))
        for k in range(2)
    ]
    stream = (next(shares[k % 2]) for k, batch in enumerate(plan) for _ in batch)
    found = dict(by_image(stream, records, options, recipe))
    assert isinstance(found.pop(1), DataError)
    merged = [one.whole() for one in found.values() if isinstance(one, ImageResult)]
    one = predict_each(detector, recipe, records, tmp_path, device=CPU, options=options)
    expected = [as_bytes(f) for image, f in one if image.id != 2]
    assert [as_bytes(one) for one in merged] == expected


def test_an_image_is_decoded_once(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = noise(tmp_path, [(300, 200), (150, 120)])
    read: list[str] = []

    def counted(path: Path, **options: object) -> np.ndarray:
        read.append(path.name)
        return read_image(path)

    monkeypatch.setattr("sodkit.data.images.pixel_source.read_image", counted)
    predict_images(FindsBlobs(), recipe, records, tmp_path, device=CPU, options=OPTIONS)
    assert sorted(read) == ["0.png", "1.png"]


def test_a_raster_is_read_by_windows(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    (record,) = noise(tmp_path, [(300, 200)])
    pixels = read_image(tmp_path / record.file_name)
    profile = {"driver": "GTiff", "width": 300, "height": 200, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        tmp_path / "a.tif", "w", **profile, tiled=True, blockxsize=64, blockysize=64,
        crs="EPSG:32632", transform=rasterio.Affine(0.5, 0, 0, 0, -0.5, 0),
    ) as file:  # fmt: skip
        file.write(pixels.transpose(2, 0, 1))
    torch.manual_seed(0)
    detector = build(recipe.model, 2).eval()
    each = partial(predict_images, detector, recipe, device=CPU, options=OPTIONS)
    decoded = each([record], tmp_path)
    monkeypatch.delattr("sodkit.data.images.pixel_source.read_image")  # nothing is decoded whole
    by_windows = each([replace(record, file_name="a.tif")], tmp_path)
    assert as_bytes(by_windows) == as_bytes(decoded)


def test_a_window_that_is_larger_than_the_memory(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [ImageRecord(1, "a.png", 9, 9), ImageRecord(2, "b.png", 200_000, 100_000)]
    monkeypatch.setattr("sodkit.engine.window_memory.memory", lambda: 16_000_000_000)
    call = partial(predict_images, FindsBlobs(), recipe, images, tmp_path, device=CPU)
    with pytest.raises(SodkitError, match=r"200000 x 100000 px takes 360\.0 GB") as caught:
        call(options=replace(OPTIONS, size=None))
    assert caught.value.exit_code == 1
    assert "--size" in (caught.value.hint or "")
    with pytest.raises(SodkitError, match="50000 x 50000 px"):
        call(options=replace(OPTIONS, size=50_000))
    with pytest.raises(DataError, match="no such image"):  # these windows fit
        call(options=replace(OPTIONS, size=20_000))


@pytest.mark.parametrize("text", ["", "1,2", "0", "a", "1,2,x", "1,2,3,4", "-1"])
def test_bands_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="is no list of bands"):
        parse_bands(text)
    assert parse_bands("4, 3,2") == (4, 3, 2)
