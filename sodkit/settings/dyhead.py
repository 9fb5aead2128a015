"""Settings of DyHead."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.atss import AtssParts
from sodkit.settings.base import Count
from sodkit.settings.dense import whole_groups


class DyHead(AtssParts):
    """ATSS with a dynamic head (Dai et al., CVPR 2021).

    The benchmark has a result of it, but no settings: these are its ATSS', and mmdetection's
    default number of blocks.
    """

    kind: Literal["dyhead"] = "dyhead"
    blocks: Count = Field(6, description="dynamic head blocks")
    norm_groups: Count = Field(16, description="of the blocks' group norms")

    @property
    def convs(self) -> int:
        """Convolutions of each tower: the blocks take their place."""
        return 0

    @property
    def groups(self) -> None:
        """Of the towers' group norm."""

    @field_validator("norm_groups")
    @classmethod
    def _whole(cls, value: int, info: ValidationInfo) -> int:
        return whole_groups(value, info)
