"""From settings to the network that makes the proposals of Faster R-CNN."""

from __future__ import annotations

from typing import assert_never

from sodkit.models.parts.crpn import Crpn
from sodkit.models.parts.guided_rpn import GuidedRpn
from sodkit.models.parts.rfla_rpn import RflaRpn
from sodkit.models.parts.rpn import IouRpn, Rpn
from sodkit.settings import proposers

Proposer = Rpn | Crpn | GuidedRpn


def proposer(
    config: proposers.Rpn | proposers.Crpn | proposers.Rfla | proposers.Guided,
    channels: int,
    strides: tuple[int, ...],
) -> Proposer:
    """Return the network of these settings on a pyramid of ``channels``, levels of ``strides``."""
    match config:
        case proposers.Rpn():
            return IouRpn(config, channels, strides)
        case proposers.Crpn():
            return Crpn(config, channels, strides)
        case proposers.Rfla():
            return RflaRpn(config, channels, strides)
        case proposers.Guided():
            return GuidedRpn(config, channels, strides)
        case _:
            assert_never(config)
