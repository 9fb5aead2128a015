"""Settings of a detector that is not ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from sodkit.settings.base import BoxKind, Settings


class Outside(Settings):
    """A detector of the user's own: anything with the two methods of ``models.detector.Detector``.

    ``factory`` is imported when a training starts, since the recipe is the user's own text. It is
    never imported because a checkpoint names it: ``load_checkpoint`` takes the factory from its
    caller.
    """

    kind: Literal["outside"] = "outside"
    boxes: BoxKind = "horizontal"
    factory: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:function that is called with the number of classes and the options",
    )
    options: dict[str, JsonValue] = Field({}, description="keyword arguments of the factory")
