import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sodkit.data.formats import find_images, read_annotations
from sodkit.errors import DataError, SodkitError, UsageError
from sodkit.tiling import split_dataset as run
from sodkit.tiling.conservation import SplitReport
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split_dataset import split_dataset

RULES = SplitSettings(size=100, stride=70)


def split(source: Path, out: Path, rules: SplitSettings = RULES, **options: Any) -> SplitReport:
    return split_dataset(read_annotations(source), source.parent / "photos", out, rules, **options)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_patches_and_annotations_go_together(source: Path, tmp_path: Path) -> None:
    report = split(source, tmp_path / "out", replace(RULES, format="png"))
    own = read_annotations(tmp_path / "out")
    folder = find_images(tmp_path / "out", own)
    assert folder == tmp_path / "out"
    assert report.patches == len(own.images) == len(list((folder / "images").rglob("*.png")))
    assert report.annotations == len(own)
    assert [image.id for image in own.images] == list(range(1, len(own.images) + 1))
    assert own.ids.tolist() == list(range(1, len(own) + 1))
    for image in own.images:
        assert image.start is not None
        assert image.ori_file_name is not None
        x, y = image.start
        whole = cv2.imread(str(source.parent / "photos" / image.ori_file_name))
        patch = cv2.imread(str(folder / image.file_name))
        assert whole is not None
        assert patch is not None
        assert patch.shape == (100, 100, 3)
        part = whole[y : y + 100, x : x + 100]
        np.testing.assert_array_equal(patch[: part.shape[0], : part.shape[1]], part)
        assert not patch[part.shape[0] :].any()
        assert not patch[:, part.shape[1] :].any()


def test_report_says_what_became_of_every_object(source: Path, tmp_path: Path) -> None:
    report = split(source, tmp_path / "out")
    whole = read_annotations(source)
    assert report.outcomes.sum() == (~whole.is_region).sum()
    assert report.total("lost") == 0
    assert report.total("whole") == (~whole.is_region).sum()
    assert report.regions == whole.is_region.sum()
    saved = json.loads((tmp_path / "out" / "split.json").read_text())
    assert saved["objects"] == report.as_dict()["objects"]
    assert saved["settings"]["size"] == 100
    per_class = saved["objects"]["per_class"]
    assert sum(item["total"]["whole"] for item in per_class.values()) == report.total("whole")


def test_names_that_differ_by_suffix_do_not_collide(source: Path, tmp_path: Path) -> None:
    split(source, tmp_path / "out")
    names = {image.file_name for image in read_annotations(tmp_path / "out").images}
    assert "images/a-1__100__0___0.jpg" in names
    assert "images/a-6__100__0___0.jpg" in names
    assert "images/sub/c__100__0___0.jpg" in names


def test_names_that_are_too_long_for_patches_are_cut(source: Path, tmp_path: Path) -> None:
    """Names of 251 and 255 bytes that begin alike; a name whose patches' just fit stays."""
    data = json.loads(source.read_text())
    names = ["a" * 247 + ".jpg", "a" * 251 + ".png", "sub/" + "ä" * 118 + ".jpg"]
    for image, name in zip(data["images"], names, strict=False):
        (source.parent / "photos" / image["file_name"]).rename(source.parent / "photos" / name)
        image["file_name"] = name
    source.write_text(json.dumps(data))
    report = split(source, tmp_path / "out")
    own = read_annotations(tmp_path / "out")
    assert report.patches == len(own.images) == len({image.file_name for image in own.images})
    for image in own.images:
        assert (tmp_path / "out" / image.file_name).is_file()
        assert len(Path(image.file_name).name.encode()) <= 255
    assert set(names) <= {image.ori_file_name for image in own.images}
    assert f"images/sub/{'ä' * 118}__100__0___0.jpg" in {image.file_name for image in own.images}
    assert split(source, tmp_path / "out").patches == report.patches


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_workers_writes_the_same(source: Path, tmp_path: Path, workers: int) -> None:
    rules = replace(RULES, ignore="fill", empty=0.5)
    split(source, tmp_path / "one", rules, workers=1)
    split(source, tmp_path / "many", rules, workers=workers)
    assert content(tmp_path / "one") == content(tmp_path / "many")


def test_continues_with_what_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(source, tmp_path / "whole")
    out = tmp_path / "out"
    split(source, out)
    whole = content(tmp_path / "whole")
    assert content(out) == whole
    read: list[str] = []
    real = run.read_image
    monkeypatch.setattr(run, "read_image", lambda p, **k: read.append(p.name) or real(p, **k))
    (out / "images/d__100__70___0.jpg").unlink()
    (out / "images/sub/c__100__0___0.jpg").write_bytes(b"")
    (out / "images/.tmp-0123.jpg").write_bytes(b"left over")
    split(source, out)
    assert content(out) == whole
    assert sorted(read) == ["c.jpg", "d.jpg"]


KILLED = """
import signal, sys, time
from pathlib import Path
from sodkit.data.formats import read_annotations
from sodkit.tiling import split_dataset as run
from sodkit.tiling.settings import SplitSettings
real = run.write_image
def slow(*args, **options):
    time.sleep(0.02)
    real(*args, **options)
run.write_image = slow
# a shell's background jobs, and what they start, ignore it
signal.signal(signal.SIGINT, signal.default_int_handler)
source, out = map(Path, sys.argv[1:])
rules = SplitSettings(size=100, stride=70)
run.split_dataset(read_annotations(source), source.parent / "photos", out, rules, workers=2)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again_ends_the_same(source: Path, tmp_path: Path, how: int) -> None:
    split(source, tmp_path / "whole")
    out = tmp_path / "out"
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(out)],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    limit = time.monotonic() + 30
    while len(list(out.rglob("*.jpg"))) < 8 and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert not (out / "annotations.json").exists()
    assert not (out / "split.json").exists()
    if how == signal.SIGINT:
        assert b"KeyboardInterrupt" in errors
        assert not list(out.rglob(".tmp-*"))
    split(source, out)
    assert content(out) == content(tmp_path / "whole")


def test_other_settings_need_overwrite(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    split(source, out)
    before = content(out)
    other = replace(RULES, size=90)
    with pytest.raises(UsageError, match="size was 100, now 90"):
        split(source, out, other)
    assert content(out) == before
    split(source, out, other, overwrite=True)
    split(source, tmp_path / "fresh", other)
    assert content(out) == content(tmp_path / "fresh")


def test_a_stated_depth_scales_the_patches(source: Path, tmp_path: Path) -> None:
    for path in (source.parent / "photos").rglob("*.png"):
        height, width = cv2.imread(str(path)).shape[:2]
        cv2.imwrite(str(path), np.full((height, width, 3), 800, np.uint16))
    for depth, value in ((None, 200), (12, 50)):
        out = tmp_path / f"{depth}"
        split(source, out, replace(RULES, format="png", bit_depth=depth))
        assert min(cv2.imread(str(path)).max() for path in out.rglob("*.png")) == value


def test_other_annotations_need_overwrite(source: Path, tmp_path: Path) -> None:
    split(source, tmp_path / "out")
    data = json.loads(source.read_text())
    data["annotations"][0]["bbox"][0] += 1
    source.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="annotations were others"):
        split(source, tmp_path / "out")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_others_is_left_alone(source: Path, tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "images" / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="not made by a split"):
        split(source, out, overwrite=overwrite)
    assert content(out) == {"images/holiday.jpg": b"precious"}


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[1]", b'{"a":' * 20_000])
def test_a_report_that_cannot_be_read_is_none_of_ours(
    source: Path, tmp_path: Path, text: bytes
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "split.json").write_bytes(text)
    with pytest.raises(UsageError, match="not made by a split"):
        split(source, out)
    assert content(out) == {"split.json": text}


def test_the_source_is_not_written_to(source: Path, tmp_path: Path) -> None:
    split(source, tmp_path / "out")
    again = read_annotations(tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(UsageError, match="images are read from"):
        split_dataset(again, tmp_path / "out", tmp_path / "out", RULES, overwrite=True)
    assert content(tmp_path / "out") == before


BAD_IMAGES = [
    ("missing", lambda path: path.unlink(), "no such image"),
    ("empty", lambda path: path.write_bytes(b""), "cannot be decoded"),
    ("noise", lambda path: path.write_bytes(b"no image at all"), "cannot be decoded"),
    ("cut", lambda path: path.write_bytes(path.read_bytes()[:100]), "header|decoded"),
    ("size", lambda path: cv2.imwrite(str(path), np.zeros((9, 8, 3), np.uint8)), "has 8 x 9 px"),
]


@pytest.mark.parametrize(
    ("spoil", "message"), [case[1:] for case in BAD_IMAGES], ids=[case[0] for case in BAD_IMAGES]
)
def test_bad_image_stops_or_is_left_out(
    source: Path, tmp_path: Path, spoil: Any, message: str
) -> None:
    bad = source.parent / "photos" / "d.jpg"
    spoil(bad)
    out = tmp_path / "out"
    with pytest.raises(DataError, match=message) as caught:
        split(source, out)
    assert str(bad) in str(caught.value)
    assert "--skip-bad" in str(caught.value)
    assert not (out / "annotations.json").exists()
    report = split(source, out, skip_bad=True)
    assert [(item.file_name, item.objects > 0) for item in report.bad_images] == [("d.jpg", True)]
    own = read_annotations(out)
    assert {image.ori_file_name for image in own.images} == {
        "a.jpg", "b.png", "sub/c.jpg", "e.jpg", "a.png",
    }  # fmt: skip
    assert report.images == 5
    objects = (~read_annotations(source).is_region).sum()
    assert report.outcomes.sum() + report.bad_images[0].objects == objects


def test_an_image_that_breaks_between_two_runs_leaves_no_patches(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    split(source, out)
    (out / "split.json").rename(out / ".split.json")  # as if it had been killed at the end
    (source.parent / "photos" / "d.jpg").write_bytes(b"\xff\xd8 no image")
    report = split(source, out, skip_bad=True)
    assert [item.file_name for item in report.bad_images] == ["d.jpg"]
    listed = {image.file_name for image in read_annotations(out).images}
    there = {name for name in content(out) if name.startswith("images/")}
    assert there == listed


def test_windows_without_number_are_refused(source: Path, tmp_path: Path) -> None:
    own = read_annotations(source)
    rules = SplitSettings(size=2, stride=1)
    images = tuple(replace(image, width=10**6, height=10**6) for image in own.images)
    with pytest.raises(DataError, match="has 310 x 200 px"):
        split_dataset(
            replace(own, images=images), source.parent / "photos", tmp_path / "out", rules
        )
    cv2.imwrite(str(source.parent / "photos" / "a.jpg"), np.zeros((3000, 4000, 3), np.uint8))
    own = replace(own, images=(replace(own.images[0], width=4000, height=3000),))
    own = own.take(np.zeros(0, np.int64))
    with pytest.raises(UsageError, match="would be cut into 11937081 patches"):
        split_dataset(
            own, source.parent / "photos", tmp_path / "other", SplitSettings(size=10, stride=1)
        )
    assert not (tmp_path / "other").exists()


def test_full_disk_is_named_and_leaves_a_resumable_state(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(source, tmp_path / "whole")
    real, written = os.write, []

    def full(descriptor: int, data: memoryview) -> int:
        written.append(descriptor)
        if len(written) > 5:
            real(descriptor, data[:10])
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SodkitError, match="No space left") as caught:
        split(source, tmp_path / "out")
    assert caught.value.exit_code == 1
    monkeypatch.undo()
    assert not list((tmp_path / "out").rglob(".tmp-*"))
    split(source, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_rotated_by_exif(tmp_path: Path) -> None:
    """The annotations' size decides: upright or as stored."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[:, :50] = 255
    ok, data = cv2.imencode(".jpg", pixels)
    assert ok
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "r.jpg").write_bytes(data.tobytes()[:2] + segment + data.tobytes()[2:])
    for width, height, bright in ((100, 60, (30, 10)), (60, 100, (10, 30))):
        image = {"id": 1, "file_name": "r.jpg", "width": width, "height": height}
        path = tmp_path / f"{width}.json"
        path.write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
        split(path, tmp_path / f"out{width}", replace(RULES, format="png"))
        patch = cv2.imread(str(tmp_path / f"out{width}/images/r__100__0___0.png"))
        assert patch is not None
        assert patch[bright].min() > 200
        assert patch[height - 5 if width == 60 else 30, width - 5].max() < 50


def test_progress_counts_images(source: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    split(source, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]


def test_no_worker_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one worker"):
        split(source, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_empty_data_set(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    report = split(path, tmp_path / "out")
    assert report.patches == 0
    assert len(read_annotations(tmp_path / "out").images) == 0


def test_an_impossible_size_is_found_before_its_windows_are_laid_out(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), np.zeros((9, 8, 3), np.uint8))
    image = {"id": 1, "file_name": "a.png", "width": 900_000, "height": 900_000}
    path = tmp_path / "ann.json"
    path.write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
    with pytest.raises(DataError, match="has 8 x 9 px, its annotation says 900000 x 900000"):
        split(path, tmp_path / "out")


def test_a_changed_image_is_split_anew(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    split(source, out)
    photo = source.parent / "photos" / "d.jpg"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    time.sleep(0.02)
    cv2.imwrite(str(photo), np.full((210, 200), 77, np.uint8))
    os.utime(photo, (1, 1))  # an older file put in its place
    split(source, out)
    split(source, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")
    again = {path.name for path, time_ in before.items() if path.stat().st_mtime_ns != time_}
    assert again
    assert all(name.startswith("d__") for name in again)


def test_several_sizes_at_once(source: Path, tmp_path: Path) -> None:
    rules = replace(RULES, also=((60, 40), (400, 300)))
    report = split(source, tmp_path / "out", rules, workers=2)
    own = read_annotations(tmp_path / "out")
    assert {image.width for image in own.images} == {60, 100, 400}
    assert report.patches == len(own.images)
    assert len({image.file_name for image in own.images}) == len(own.images)
    alone = {}
    for number, scale in enumerate(rules.scales):
        split(source, tmp_path / f"alone{number}", scale)
        alone |= content(tmp_path / f"alone{number}" / "images")
    assert content(tmp_path / "out" / "images") == alone
    counted = sum(
        split(source, tmp_path / f"alone{number}", scale).annotations
        for number, scale in enumerate(rules.scales)
    )
    assert report.annotations == len(own) == counted
    with pytest.raises(UsageError, match="also was"):
        split(source, tmp_path / "out")
    with pytest.raises(UsageError, match="every size once"):
        replace(RULES, also=((100, 30),))
