"""Predictions of several seeds: how they are named, what is printed and written."""

import json
from pathlib import Path

import pytest
from test_eval import files, run

from sodkit.cli.eval_files import chosen_files
from sodkit.errors import UsageError

__all__ = ["files"]


def test_files_and_methods_by_name(tmp_path: Path) -> None:
    methods, named = chosen_files([Path("a/x.json"), Path("b/x.json")])
    assert methods == {"a/x": {"a/x": Path("a/x.json")}, "b/x": {"b/x": Path("b/x.json")}}
    assert not named
    methods, named = chosen_files([Path("crpn=a/0.json,a/1.json"), Path("rpn=b/0.json")])
    assert methods == {
        "crpn": {"a/0": Path("a/0.json"), "a/1": Path("a/1.json")},
        "rpn": {"b/0": Path("b/0.json")},
    }
    assert named
    odd = tmp_path / "lr=0.1,wd=0.json"
    odd.touch()
    methods, named = chosen_files([odd])
    assert not named
    assert list(methods) == ["lr=0.1,wd=0"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a=x.json", "a=y.json"], "'a' is given twice"),
        (["a=x.json,x.json"], "given twice"),
        (["a=x.json", "b=x.json"], "given twice"),
        (["a="], "'a' has no files"),
    ],
)
def test_what_is_refused(given: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        chosen_files([Path(one) for one in given])


@pytest.fixture
def halves(files: tuple[str, str], tmp_path: Path) -> list[str]:
    """Two files with half of the predictions each."""
    found = json.loads(Path(files[1]).read_text())
    paths = []
    for seed in (0, 1):
        path = tmp_path / f"half{seed}.json"
        path.write_text(json.dumps(found[seed::2]))
        paths.append(str(path))
    return paths


def test_methods_are_compared_over_seeds(
    files: tuple[str, str], halves: list[str], tmp_path: Path
) -> None:
    truth, found = files
    out = tmp_path / "out"
    given = (truth, f"whole={found}", f"half={','.join(halves)}", "--resamples", "40")
    result = run(*given, "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert json.loads((out / "metrics.json").read_text()) == data
    comparison = data["comparison"]
    assert comparison["seeds"] == {"whole": 1, "half": 2}
    half = comparison["methods"]["half"]["AP"]
    each = [data["runs"][f"half{seed}"]["metrics"]["AP"] for seed in (0, 1)]
    assert half["mean"] == pytest.approx(sum(each) / 2)
    assert half["difference_low"] <= half["difference"] <= half["difference_high"]
    assert comparison["methods"]["whole"]["AP"]["spread"] is None
    result = run(*given)
    assert result.exit_code == 0
    assert "half (2)" in result.stdout
    assert "half less whole" in result.stdout
    assert "±" in result.stdout
    assert "one seed: whole" in result.stderr


def test_two_files_are_not_two_methods(files: tuple[str, str], halves: list[str]) -> None:
    result = run(files[0], *halves, "--resamples", "20")
    assert result.exit_code == 0
    assert "these are files, not methods" in result.stderr


def test_methods_of_proposals_are_refused(files: tuple[str, str], halves: list[str]) -> None:
    result = run(files[0], f"half={','.join(halves)}", "--proposals")
    assert result.exit_code == 2
    assert "not by proposals" in result.stderr


def test_a_missing_file_of_a_method_is_named(files: tuple[str, str], tmp_path: Path) -> None:
    result = run(files[0], f"whole={files[1]},{tmp_path / 'gone.json'}")
    assert result.exit_code != 0
    assert "gone.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_many_files_are_no_name_too_long_for_a_file() -> None:
    files = [f"prediction-of-seed-{seed:03d}.json" for seed in range(40)]
    methods, named = chosen_files([Path(f"a={','.join(files)}")])
    assert named
    assert [str(path) for path in methods["a"].values()] == files
