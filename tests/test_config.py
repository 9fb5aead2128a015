from __future__ import annotations

from pathlib import Path

import pytest

from sodkit.config import builtin_names, dump_recipe, load_recipe
from sodkit.errors import UsageError


@pytest.mark.parametrize("name", builtin_names())
def test_builtin_recipes_load_and_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe))
    assert load_recipe(str(path)) == recipe


def test_paper_and_release_differ_only_in_settings() -> None:
    paper, release = (load_recipe(f"cfinet-r50-soda-d{s}") for s in ("", "-release"))
    assert not paper.model.imitation.reweight
    assert release.model.imitation.reweight
    assert release.model.crpn.assignment.cap == 0.25
    assert paper.model.backbone == release.model.backbone


def test_set_reaches_nested_values_and_keeps_the_rest() -> None:
    recipe = load_recipe(
        "cfinet-r50-soda-d", ["model.roi.matching.samples=64", "schedule.steps=[1, 2]"]
    )
    assert recipe.model.roi.matching.samples == 64
    assert recipe.model.roi.matching.positive == 0.5
    assert recipe.schedule.steps == (1, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.epoch=3", "did you mean epochs"),
        ("schedule.epochs=many", "schedule.epochs"),
        ("schedule.epochs=0", "schedule.epochs"),
        ("schedule.lr=nan", "schedule.lr"),
        ("schedule.epochs", "KEY=VALUE"),
        ("name.x=1", "has no keys"),
        ("model.backbone=3", "model.backbone"),
        ("model.roi.score=[", "not valid YAML"),
        ("schedule.lr=2020-13-45", "is a date"),
        ("schedule.lr=" + "9" * 5000, "too large for an integer"),
        ("schedule.lr=1e999", "too large for a number"),
        ("schedule.epochs=!!int x", "x is no int"),
        ("schedule={lr: 1, lr: 2}", "'lr' occurs twice"),
        ("a." * 2000 + "b=1", "nested too deeply"),
        ("a=" + "[" * 2000, "levels of nesting"),
        ("model.imitation.reweight=2", "valid boolean"),
        ("schedule.epochs=true", "valid integer"),
        (".=1", "unknown key"),
    ],
)
def test_bad_overrides_name_the_key(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe("cfinet-r50-soda-d", [override])


@pytest.mark.parametrize(("text", "lr"), [("1e-3", 1e-3), ("2E-1", 0.2), (".5", 0.5), ("1", 1.0)])
def test_a_number_is_read_as_one(text: str, lr: float) -> None:
    recipe = load_recipe("cfinet-r50-soda-d", [f"schedule.lr={text}"])
    assert recipe.schedule.lr == lr


@pytest.mark.parametrize(
    ("text", "value"), [("0", False), ("1", True), ("no", False), ("On", True), ("false", False)]
)
def test_switches_take_numbers_and_words(text: str, value: bool) -> None:
    recipe = load_recipe("cfinet-r50-soda-d", [f"model.imitation.reweight={text}"])
    assert recipe.model.imitation.reweight is value


@pytest.mark.parametrize("name", ["1e3", "1e-3", "on", "2020-01-05", "0x1", "~", "\u00e4", "a: b"])
def test_a_name_that_looks_like_something_else_round_trips(name: str, tmp_path: Path) -> None:
    recipe = load_recipe("cfinet-r50-soda-d").model_copy(update={"name": name})
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), "ascii")
    assert load_recipe(str(path)) == recipe


def test_many_faults_make_a_short_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("".join(f"{'k' * 500}{i}: 1\n" for i in range(1000)))
    with pytest.raises(UsageError, match="and 996 more") as caught:
        load_recipe(str(path))
    assert len(str(caught.value)) < 1000


def test_unknown_recipe_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match="did you mean cfinet-r50-soda-d"):
        load_recipe("cfinet-r50-sodad")


@pytest.mark.parametrize(
    "text",
    ["- 1\n", "a: [", "name: x\nboxes: round\n", "\x00", "", "a: !!bool x", "name: a\nname: b"],
)
def test_broken_recipe_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        load_recipe(str(path))


def test_missing_recipe_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(str(tmp_path / "absent.yaml"))


def test_what_our_own_rules_say_stands_alone() -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("fcos-r50-soda-d", ["model.groups=5"])
    text = "model.groups: 256 channels cannot be 5 groups of two or more each"
    assert str(caught.value).splitlines()[0].endswith(text)
