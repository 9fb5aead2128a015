"""A detector of Hugging Face ``transformers``, trained, used on whole images and evaluated.

Run: python examples/transformers_detector.py OUT        (extra: pip install "sodkit[hf]")

It is a small RT-DETR from random weights, so nothing is downloaded. For a real training take one
with weights: ``AutoModelForObjectDetection.from_pretrained(NAME, num_labels=classes,
ignore_mismatched_sizes=True)`` and ``AutoImageProcessor.from_pretrained(NAME)``.
"""

from __future__ import annotations

from torch import nn
from torchvision_detector import main
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
)

from sodkit.models.adapters.transformers import TransformersDetector


def rt_detr(classes: int) -> nn.Module:
    """Return RT-DETR with a narrow ResNet and a decoder of two layers."""
    widths = [32, 64, 64]
    backbone = RTDetrResNetConfig(
        embedding_size=16, hidden_sizes=[16, *widths], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone, encoder_in_channels=widths, decoder_in_channels=[64, 64, 64],
        d_model=64, encoder_hidden_dim=64, encoder_ffn_dim=128, decoder_ffn_dim=128,
        encoder_attention_heads=4, decoder_attention_heads=4, decoder_layers=2, num_queries=100,
        num_labels=classes,
    )  # fmt: skip
    return TransformersDetector(RTDetrForObjectDetection(config), RTDetrImageProcessor())


if __name__ == "__main__":
    main(rt_detr, __doc__)
