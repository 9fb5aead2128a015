"""A recipe as YAML that says what each key means: from the settings' descriptions and types."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from sodkit.settings import Recipe
from sodkit.settings.base import Settings
from sodkit.yaml_text import format_yaml

WIDTH = 96
"""Characters of a line, where words allow."""
MEANINGS = {
    "kind": "which part this is; the keys beside it are its own",
    "name": "of the recipe",
    "description": "one line for lists",
    "seed": "of weights, order, augmentation and sampling",
    "epochs": "how often every image is trained on",
    "lr": "highest learning rate",
    "momentum": "of SGD",
    "weight_decay": "added to the gradient (SGD), or taken from the weights (AdamW)",
    "warmup_factor": "the learning rate begins at this share",
    "warmup_in": "what the length of the warm-up is counted in",
    "channels": "of every level of the features",
    "stds": "standard deviations that deltas are divided by, one a delta",
    "coarse_stds": "the same of the coarse stage: centre, size",
    "fine_stds": "the same of the fine stage",
    "ratios": "height to width of the anchors",
    "anchor_scale": "anchor side in strides",
    "positive": "least IoU of a positive",
    "negative": "IoU below which it is negative; between the two it is neither",
    "low_quality": "least IoU at which an object's best ones are positive, too",
    "samples": "how many are trained on, drawn at random",
    "train": "in training",
    "test": "in testing",
    "nms_train": "IoU above which the lower of two proposals goes, in training",
    "nms_test": "the same in testing",
    "max_per_patch": "detections kept",
    "regression_weight": "of the loss of boxes",
    "classification_weight": "of the loss of classes or objectness",
    "confidence_weight": "of the loss of confidence",
    "factor_weight": "of the loss of the factors",
    "location_weight": "of the loss of locations",
    "shape_weight": "of the loss of shapes",
    "offset_weight": "of the loss of offsets",
    "init_weight": "of the loss of the first points",
    "refine_weight": "of the loss of the moved points",
    "spatial_init_weight": "of the loss of first points outside of their object",
    "spatial_refine_weight": "of the loss of moved points outside of their object",
    "class_agnostic": "one box an RoI, not one a class",
    "giou": "weight of GIoU, in loss and matching",
    "loss": "of boxes",
    "metric": "by which box and prior are compared",
    "dropout": "share of outputs that a training step leaves out",
    "hidden": "width of the fully connected layers",
    "pool": "cells a side that an RoI is pooled to",
    "imitation": "feature imitation; null: none",
    "iq_score": "least score of a good prediction, where members go by score",
    "scales": "levels of the pyramid that exemplars are taken from",
    "low_positive_share": "positives of a low-quality object's samples",
    "middle_positive_share": "the same of one between low and high quality",
    "high": "weight of high-quality objects",
    "middle": "weight of those between",
    "low": "weight of low-quality objects",
    "stride": "of the windows, px",
    "horizontal_flip": "share of the images that are mirrored left to right",
    "vertical_flip": "share of the images that are mirrored top to bottom",
    "std": "that pixels are divided by, after the mean: R, G, B, 0 to 255",
    "scale": "factor of the size, drawn between the two",
    "affine": "random rotation, scale, shear and shift; null: none",
    "colours": "random hue, saturation and brightness; null: none",
    "copy_paste": "small objects copied into other images; null: none",
    "mixup": "the mean of two images; null: none",
    "mosaic": "four images in one; null: none",
    "sizes": "side lengths in px that batches are resized to; null: none",
}
"""Of keys that mean the same wherever they stand; what a setting itself says goes first."""
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def explain_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML with every value, and above each key what it means and may be.

    It reads back as the same recipe.
    """
    return "\n".join(_lines(recipe, "")) + "\n"


def _lines(settings: Settings, indent: str) -> Iterator[str]:
    kind = type(settings)
    schema = kind.model_json_schema()
    for name, field in kind.model_fields.items():
        value = getattr(settings, name)
        own = schema["properties"][name]
        if isinstance(value, Settings):
            yield from _comment(field.description or _first_sentence(type(value)), indent)
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")
            continue
        described = meaning(kind, name)
        may_be = allowed(own, schema.get("$defs", {}))
        yield from _comment(f"{described} [{may_be}]" if may_be else described, indent)
        dumped = settings.model_dump(mode="json", include={name})
        for line in format_yaml(dumped, as_ascii=True).rstrip("\n").split("\n"):
            yield indent + line


def meaning(kind: type[Settings], name: str) -> str:
    """Return what a key of these settings means; "" if nothing says it."""
    return kind.model_fields[name].description or MEANINGS.get(name, "")


def allowed(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Return what a value may be, of a JSON schema: "cosine | step", "number > 0 | null"; else "".

    Args:
        schema: of the value.
        known: what ``$ref`` names, ``$defs`` of the whole.
    """
    if "$ref" in schema:
        return allowed(known[str(schema["$ref"]).rsplit("/", 1)[-1]], known)
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            parts = [allowed(one, known) for one in schema[several]]
            return " | ".join(dict.fromkeys(parts)) if all(parts) else ""
    kind = str(schema.get("type", ""))
    if kind in {"object", "array"}:
        return ""
    bounds = [f"{sign} {schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([kind, " and ".join(bounds)]).strip()


def _first_sentence(kind: type[Settings]) -> str:
    return (kind.__doc__ or "").split("\n")[0].strip().removesuffix(".")


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
