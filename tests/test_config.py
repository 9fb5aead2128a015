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
    assert release.model.crpn.threshold.cap == 0.25
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
    ],
)
def test_bad_overrides_name_the_key(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe("cfinet-r50-soda-d", [override])


def test_unknown_recipe_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match="did you mean cfinet-r50-soda-d"):
        load_recipe("cfinet-r50-sodad")


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "name: x\nboxes: round\n", "\x00"])
def test_broken_recipe_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        load_recipe(str(path))


def test_missing_recipe_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(str(tmp_path / "absent.yaml"))
