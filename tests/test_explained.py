"""Recipes that say what each key means."""

import pytest

from sodkit.config import builtin_names, load_recipe, recipe_from_dict
from sodkit.explained import MEANINGS, allowed, explain_recipe, meaning
from sodkit.settings.base import Settings
from sodkit.yaml_text import parse_yaml


def nested(settings):
    """Yield settings and all in them."""
    yield settings
    for name in type(settings).model_fields:
        if isinstance(value := getattr(settings, name), Settings):
            yield from nested(value)


@pytest.mark.parametrize("name", builtin_names())
def test_every_key_is_explained_and_the_recipe_reads_back(name):
    recipe = load_recipe(name)
    text = explain_recipe(recipe)
    assert recipe_from_dict(parse_yaml(text), "explained") == recipe
    assert max(len(line) for line in text.split("\n")) <= 110
    for settings in nested(recipe):
        for key in type(settings).model_fields:
            value = getattr(settings, key)
            own = isinstance(value, Settings) or meaning(type(settings), key)
            assert own, f"{type(settings).__name__}.{key}: describe it, or add it to MEANINGS"


def test_ranges_and_choices_are_said():
    text = explain_recipe(load_recipe("cfinet-r50-soda-d"))
    lines = [line.strip() for line in text.split("\n")]
    at = lines.index("name: resnet50")
    wrapped = " ".join(line.strip("# ") for line in lines[at - 2 : at])
    assert wrapped.endswith("[resnet18 | resnet34 | resnet50 | resnet101 | resnet152]")
    assert lines[lines.index("positive: 0.7") - 1] == (
        "# least IoU of a positive [number >= 0 and <= 1]"
    )
    assert lines[lines.index("weights: imagenet") - 1].endswith("[string | null]")


def test_allowed_values_of_a_schema():
    known = {"Mode": {"enum": ["a", "b"], "type": "string"}}
    assert allowed({"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}]}, known) == "a | b | null"
    assert allowed({"type": "number", "exclusiveMinimum": 0}, {}) == "number > 0"
    assert allowed({"type": "array", "items": {"type": "number"}}, {}) == ""
    assert allowed({"const": "rpn"}, {}) == "rpn"


def test_no_meaning_is_left_over():
    """A key that no recipe has any more goes from the table, too."""
    text = "\n".join(explain_recipe(load_recipe(name)) for name in builtin_names())
    keys = {line.strip().partition(":")[0] for line in text.split("\n")}
    assert set(MEANINGS) <= keys
