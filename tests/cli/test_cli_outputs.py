"""Where commands write: one writer, --overwrite in the same way everywhere, names, --out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from holding import holding
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.outputs import MARK
from sodkit.synthetic import make_dataset


def run(*arguments: object) -> tuple[int, str]:
    """Return the exit code and what stderr says, on one line."""
    result = CliRunner().invoke(make_app(), [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.json, its images and predictions."""
    folder = tmp_path_factory.mktemp("data")
    path = make_dataset(folder, images=2, seed=1, width=160, height=128, subset="data")
    content = json.loads(path.read_text())
    found = [
        {key: row[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5}
        for row in content["annotations"]
        if row["category_id"] == content["categories"][0]["id"]
    ]
    assert found
    (folder / "found.json").write_text(json.dumps(found))
    return folder


@dataclass(frozen=True)
class Command:
    """A command without its --out."""

    name: str
    arguments: Callable[[Path], list[object]]
    out: str = "out"

    def __call__(self, data: Path, out: Path, *more: object) -> tuple[int, str]:
        return run(self.name, *self.arguments(data), "--out", out, *more)


FOLDERS = [
    Command("split", lambda d: [d / "data.json", "--size", 64, "--workers", 1]),
    Command("visualize", lambda d: [d / "data.json"]),
    Command("eval", lambda d: [d / "data.json", d / "found.json", "--resamples", 0]),
    Command("analyze-anchors", lambda d: [d / "data.json", "--recipe", "cfinet-r18-demo"]),
    Command("convert", lambda d: [d / "data.json", "--to", "voc"]),
    Command("convert", lambda d: [d / "data.json", "--to", "yolo", "--copy-images"]),
]
FILES = [Command("convert", lambda d: [d / "data.json", "--to", "coco"], "out.json")]
LONG = [
    Command("train", lambda d: ["cfinet-r18-demo", "--data", d / "data.json"]),
    Command("demo", lambda d: []),
    Command("analyze-proposals", lambda d: [d / "no.safetensors", d / "data.json"]),
]


def named(command: Command) -> str:
    return "-".join([command.name, *map(str, command.arguments(Path())[1:3])])


@pytest.mark.parametrize("command", [*FOLDERS, *LONG], ids=named)
def test_a_folder_that_is_being_written_is_refused(
    data: Path, tmp_path: Path, command: Command
) -> None:
    with holding(tmp_path / "out") as process:
        for more in ((), ("--overwrite",)):
            code, err = command(data, tmp_path / "out", *more)
            assert code == 2
            assert f"process {process.pid} on" in err


def test_a_run_that_is_being_written_is_not_resumed(data: Path, tmp_path: Path) -> None:
    with holding(tmp_path / "run") as process:
        code, err = run("train", "--resume", tmp_path / "run")
    assert code == 2
    assert f"process {process.pid} on" in err


def test_subsets_are_split_by_one_command(data: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for name in ("train", "val"):
        (tmp_path / f"root/{name}.json").write_text((data / "data.json").read_text())
    (tmp_path / "root/images").symlink_to(data / "images")
    with holding(tmp_path / "out") as process:
        code, err = run("split", tmp_path / "root", "--out", tmp_path / "out")
    assert code == 2
    assert f"process {process.pid} on" in err


@pytest.mark.parametrize("command", [*FOLDERS, *FILES], ids=named)
def test_what_is_there_is_replaced_only_if_asked_for(
    data: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / command.out
    code, err = command(data, out)
    assert code == 0, err
    assert not [path for path in tmp_path.rglob("*") if "lock" in path.name or "tmp" in path.name]
    again = ("--size", 80) if command.name == "split" else ()  # with the same it continues
    code, err = command(data, out, *again)
    assert code == 2
    assert "--overwrite" in err
    code, err = command(data, out, *again, "--overwrite")
    assert code == 0, err


@pytest.mark.parametrize("command", [*FOLDERS, *LONG], ids=named)
def test_a_folder_of_others_is_never_replaced(data: Path, tmp_path: Path, command: Command) -> None:
    for name in ("images/photo.jpg", "labels/a.txt", "data/x.json", "report.html", "run/run.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for more in ((), ("--overwrite",)):
        code, err = command(data, tmp_path, *more)
        assert code == 2, err
        assert "by --out" in err or "another --out" in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("to", ["voc", "yolo"])
def test_convert_leaves_what_others_put_beside(data: Path, tmp_path: Path, to: str) -> None:
    call = ("convert", data / "data.json", "--to", to, "--out", tmp_path, "--copy-images")
    assert run(*call)[0] == 0
    (tmp_path / "images").mkdir(exist_ok=True)
    (tmp_path / "images/mine.jpg").write_text("mine")
    assert run(*call, "--overwrite")[0] == 0
    assert (tmp_path / "images/mine.jpg").read_text() == "mine"


def test_convert_replaces_no_file_that_is_none_of_its_own_or_read(
    data: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.json"
    own.write_text((data / "data.json").read_text())
    (tmp_path / "images").symlink_to(data / "images")
    code, err = run("convert", own, "--to", "coco", "--out", own, "--overwrite")
    assert code == 2
    assert "is read by this command" in err
    other = tmp_path / "settings.json"
    other.write_text('{"a": 1}')
    code, err = run("convert", own, "--to", "coco", "--out", other, "--overwrite")
    assert code == 2
    assert "is no COCO file" in err
    code, err = run("convert", own, "--to", "coco", "--out", tmp_path / "a.txt")
    assert code == 2
    assert "ends in .json" in err


def test_eval_writes_no_formula(data: Path, tmp_path: Path) -> None:
    content = json.loads((data / "data.json").read_text())
    content["categories"][0]["name"] = "=HYPERLINK(1)"
    (tmp_path / "data.json").write_text(json.dumps(content))
    found = tmp_path / "-found.json"
    found.write_text((data / "found.json").read_text())
    out = tmp_path / "report"
    code, err = run("eval", "--out", out, "--resamples", 0, "--", tmp_path / "data.json", found)
    assert code == 0, err
    assert "'-found,'=HYPERLINK(1)," in (out / "per_class.csv").read_text()


@pytest.mark.parametrize("command", [FOLDERS[0], FOLDERS[1], *FOLDERS[4:]], ids=named)
def test_names_that_windows_reserves_are_refused(
    data: Path, tmp_path: Path, command: Command
) -> None:
    content = json.loads((data / "data.json").read_text())
    name = "12:30.jpg"
    (tmp_path / name).write_bytes((data / content["images"][0]["file_name"]).read_bytes())
    content["images"][0]["file_name"] = name
    (tmp_path / "images").symlink_to(data / "images")
    (tmp_path / "data.json").write_text(json.dumps(content))
    code, err = command(tmp_path, tmp_path / "out")
    assert code == 3, err
    assert f"{name}: what is written for it cannot be named" in err
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_where_a_command_fails(data: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for name in ("visualize", "split", "analyze-anchors"):
        assert run(name, tmp_path / "bad.json", "--out", tmp_path / "a/b")[0] == 3
    assert run("eval", data / "data.json", tmp_path / "no.json", "--out", tmp_path / "a")[0] == 3
    sets = ("--set", "input.patch=64")
    bad = ("train", "cfinet-r18-demo", "--data", tmp_path / "bad.json", *sets)
    assert run(*bad, "--out", tmp_path / "a/b")[0] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


def test_marks_name_what_was_written(data: Path, tmp_path: Path) -> None:
    assert run("visualize", data / "data.json", "--out", tmp_path)[0] == 0
    mark = json.loads((tmp_path / MARK).read_text())
    assert mark["command"] == "visualize"
    assert mark["files"] == sorted(path.name for path in tmp_path.glob("*.jpg"))
    assert len(mark["files"]) == 2
