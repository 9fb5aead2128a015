from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.records import BoxKind, Detections, ImageRecord
from sodkit.engine.journal import Journal, journal_file, open_journal
from sodkit.errors import DataError, ImageError, SodkitError, UsageError
from sodkit.geometry.rotated import obb_to_xywh

IMAGES = [ImageRecord(10 + k, f"{k}.png", 90, 80) for k in range(4)]
RUN = {"checkpoint": "a", "options": "b"}
BAD = ImageError("image cannot be decoded", where="1.png", hint="look at it")


def found(image: int, count: int, kind: BoxKind) -> Detections:
    rng = np.random.default_rng(image)
    obb = np.c_[rng.uniform(0, 90, (count, 2)), rng.uniform(9, 10, (count, 2)), rng.random(count)]
    return Detections(
        np.full(count, IMAGES[image].id), rng.integers(0, 3, count), rng.random(count),
        obb_to_xywh(obb), obb if kind == "oriented" else None,
    )  # fmt: skip


Found = Detections | DataError


def add(journal: Journal, found: Found) -> None:
    journal.add(found if isinstance(found, DataError) else [found])


def results(journal: Journal) -> list[Found]:
    """What it holds of each image that is done."""
    errors = {image.id: error for image, error in journal.errors()}
    parts = list(journal)
    whole = Detections.concatenate(parts)
    return [
        errors.get(image.id, whole.take(whole.image_ids == image.id))
        for image in IMAGES[: journal.done]
    ]


def all_found(kind: BoxKind) -> list[Found]:
    return [found(0, 5, kind), BAD, found(2, 0, kind), found(3, 2, kind)]


def same(one: Found, other: Found) -> bool:
    if isinstance(one, DataError) or isinstance(other, DataError):
        return str(one) == str(other)
    boxes = [(one.xywh, other.xywh)]
    if one.obb is not None and other.obb is not None:
        boxes.append((one.obb, other.obb))
    columns = [(one.image_ids, other.image_ids), (one.labels, other.labels), *boxes]
    return one.kind == other.kind and all(np.array_equal(a, b) for a, b in columns)


def left_by_a_killed_process(path: Path, results: list[Found], kind: BoxKind) -> bytes:
    with suppress(KeyboardInterrupt), open_journal(
        path, RUN, IMAGES, kind, overwrite=False
    ) as journal:  # fmt: skip
        for one in results:
            add(journal, one)
        raise KeyboardInterrupt
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["horizontal", "oriented"])
def test_what_was_done_is_found_again(kind: BoxKind, tmp_path: Path) -> None:
    path, wanted = tmp_path / "a", all_found(kind)
    left_by_a_killed_process(path, wanted[:3], kind)
    said: list[str] = []
    with open_journal(path, RUN, IMAGES, kind, overwrite=False, say=said.append) as journal:
        assert journal.done == 3
        add(journal, wanted[3])
        assert all(map(same, results(journal), wanted))
        parts = list(journal)
        assert [len(part) for part in parts] == [0, 5, 2]
        assert {part.kind for part in parts} == {kind}
    assert "3 of 4 images" in said[0]
    assert not path.exists()


def test_a_journal_that_is_cut_or_damaged_anywhere_gives_what_is_sound(tmp_path: Path) -> None:
    path, wanted = tmp_path / "a", all_found("oriented")
    sizes = [
        len(left_by_a_killed_process(tmp_path / str(n), wanted[:n], "oriented"))
        for n in range(1, 5)
    ]
    whole = (tmp_path / "4").read_bytes()
    rng = np.random.default_rng(0)
    places = [*range(sizes[0] - 10, sizes[0] + 20), *rng.integers(1, len(whole), 60).tolist()]
    for place in places:
        for spoilt in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :],
        ):
            path.write_bytes(spoilt)
            before = sum(size <= place for size in sizes)
            with open_journal(path, RUN, IMAGES, "oriented", overwrite=True) as journal:
                assert journal.done == before
                for one in wanted[before:]:
                    add(journal, one)
                assert all(map(same, results(journal), wanted))
                assert journal.done == 4
                assert path.read_bytes() == whole


def test_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "a"
    left_by_a_killed_process(path, all_found("horizontal")[:1], "horizontal")
    other = {**RUN, "options": "c"}
    with pytest.raises(UsageError, match="with other options") as caught, open_journal(
        path, other, IMAGES, "horizontal", overwrite=False
    ):  # fmt: skip
        pass
    assert "--overwrite" in (caught.value.hint or "")
    with open_journal(path, other, IMAGES, "horizontal", overwrite=True) as journal:
        assert journal.done == 0


def test_nothing_is_left_where_nothing_was_done(tmp_path: Path) -> None:
    with pytest.raises(DataError), open_journal(
        tmp_path / "a", RUN, IMAGES, "horizontal", overwrite=False
    ):  # fmt: skip
        raise DataError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, wanted = tmp_path / "a", all_found("horizontal")

    def full(found: object) -> Iterator[bytes]:
        yield b"123456789"
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_journal(path, RUN, IMAGES, "horizontal", overwrite=False) as journal:
        add(journal, wanted[0])
        monkeypatch.setattr("sodkit.engine.journal._pieces", full)
        with pytest.raises(SodkitError, match="No space left") as caught:
            add(journal, wanted[1])
        assert caught.value.exit_code == 1
        monkeypatch.undo()
        assert journal.done == 1
        left = path.read_bytes()
    path.write_bytes(left)
    with open_journal(path, RUN, IMAGES, "horizontal", overwrite=False) as journal:
        assert all(map(same, results(journal), wanted[:1]))
        assert journal.done == 1


def test_it_lies_beside_the_predictions() -> None:
    assert journal_file(Path("a/found.json")) == Path("a/.found.json.part")


def test_the_boxes_that_are_found_say_of_which_kind_they_are(tmp_path: Path) -> None:
    """Proposals of an oriented detector are upright."""
    with open_journal(tmp_path / "a", RUN, IMAGES, "oriented", overwrite=False) as journal:
        assert [part.kind for part in journal] == ["oriented"]
        journal.add(BAD)
        journal.add([found(1, 3, "horizontal")])
        assert [part.kind for part in journal] == ["horizontal"] * 2
