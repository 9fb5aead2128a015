"""Deformable DETR against mmdetection's: same weights, same numbers."""

from dataclasses import replace

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models.parts import hungarian, tokens
from sodkit.models.parts.dropout import nothing
from sodkit.settings import Keep

LAYERS = 3
QUERIES = 60


@pytest.fixture(scope="module")
def detr():
    return system.build(system.one_head(system.weights("deformable-detr")))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load("deformable-detr", "eval")


@pytest.fixture(scope="module")
def trained():
    return system.load("deformable-detr", "train")


def training():
    """Return the detector in evaluation mode: the golden values are without dropout."""
    detector, found = system.build(system.one_head(system.weights("deformable-detr", use="train")))
    return detector.eval(), found


def seen(module, pick):
    """Return a list that gets what ``pick`` takes of a module's input and output, at each call."""
    found = []
    module.register_forward_hook(lambda _module, given, result: found.append(pick(given, result)))
    return found


def test_features_tokens_and_queries(want):
    detr = system.build(system.one_head(system.weights("deformable-detr")))[0].eval()
    first, last = detr.encoder[0], detr.decoder[0]
    inputs = {
        "enc0_attn": seen(first.attention_norm, lambda given, _: given[0]),
        "enc0": seen(first, lambda _, result: result),
        "memory": seen(detr.encoder[-1], lambda _, result: result),
        "dec0_self": seen(last.attention_norm, lambda given, _: given[0]),
        "dec0_cross": seen(last.cross_norm, lambda given, _: given[0]),
        **{f"hs{n}": seen(detr.decoder[n], lambda _, result: result) for n in range(LAYERS)},
    }
    points = seen(detr.points, lambda _, result: result.sigmoid())
    for number, level in enumerate(detr.levels):
        inputs[f"c{number + 2}"] = seen(level, lambda given, _: given[0])
        inputs[f"p{number}"] = seen(level, lambda _, result: result)
    batch = golden.batch_a()
    system.check_sample("x", batch.images, want)
    with torch.no_grad():
        predicted = detr.see(batch, nothing)
    for name, (found,) in inputs.items():
        system.check_sample(name, found, want)
    golden.close(points[0][0], want["reference"])
    for layer, one in enumerate(predicted):
        golden.close(one.logits[0], want["logits"][layer])
        golden.close(relative(one.boxes, batch)[0], want["boxes_cxcywh"][layer])


def relative(boxes, batch):
    """Return boxes (B, Q, 4) as centre and sides in parts of their image's."""
    low, high = boxes[..., :2], boxes[..., 2:]
    whole = hungarian.image_sides(batch.sizes, boxes)[:, None]
    return torch.cat([(low + high) / 2, high - low], -1) / whole


def test_codes_of_places(want, trained):
    shapes = ((64, 64), (32, 32), (16, 16), (8, 8))
    counts = [rows * columns for rows, columns in shapes]
    for batch, image in ((golden.batch_a(), 0), (golden.batch_b(), 1)):
        made = tokens.arrange(shapes, batch.sizes, batch.padded, 256, torch.zeros(()))
        for level, code in enumerate(made.code[image].split(counts)):
            rows, columns = shapes[level]
            code = code.reshape(rows, columns, 256).permute(2, 0, 1)
            if len(batch.sizes) == 1:
                if level in (0, 3):
                    system.check_sample(f"pos{level}", code, want)
                continue
            wide, high = made.sides[image, level].int().tolist()
            assert [high, wide] == trained[f"mask_img1_valid_hw_lvl{level}"].tolist()
            sample = trained[f"pos_img1_lvl{level}_sample"]
            # in padding, which nothing reads, the original has other codes
            channel, row, column = np.unravel_index(
                np.linspace(0, code.numel() - 1, len(sample)).astype(np.int64), code.shape
            )
            valid = (row < high) & (column < wide)
            assert valid.mean() > 0.85
            have = code.numpy()[channel[valid], row[valid], column[valid]]
            golden.close(have, sample[valid])


def test_detections(detr, want):
    (found,) = detr.detect(golden.batch_a(), Keep(score=0, max_per_patch=100))
    for key, scale in (("det", golden.SCALE), ("detr", 1.0)):
        theirs = want[f"{key}_boxes"]
        np.testing.assert_allclose(found.boxes * scale, theirs[:, :4], atol=1e-2)
        np.testing.assert_allclose(found.scores, theirs[:, 4], atol=1e-5)
        np.testing.assert_array_equal(found.labels, want[f"{key}_labels"])


def test_predictions_and_matches_of_a_padded_batch(trained):
    detector, _ = training()
    batch = golden.batch_b(golden.targets(trained))
    with torch.no_grad():
        predicted = detector.see(batch, nothing)
    matched = hungarian.match(predicted, batch, detector.config.loss)
    for layer, (one, pairs) in enumerate(zip(predicted, matched, strict=True)):
        golden.close(one.logits, trained["logits"][layer])
        golden.close(relative(one.boxes, batch), trained["boxes_cxcywh"][layer])
        gt = torch.full((2 * QUERIES,), -1)
        gt[pairs.query] = pairs.object % 12
        np.testing.assert_array_equal(gt.reshape(2, QUERIES), trained["assign"][layer])
        assert (pairs.query // QUERIES).tolist() == (pairs.object // 12).tolist()
        assert not pairs.left_out.any()


@pytest.mark.parametrize("prefix", ["", "empty1/", "empty2/"])
def test_losses_and_gradients(trained, prefix):
    first, second = golden.targets(trained)
    given = {"": (first, second), "empty1/": (first, system.NONE), "empty2/": (system.NONE,) * 2}
    batch = golden.batch_b(given[prefix])
    detector, found = training()
    check_losses(detector(batch, golden.in_order), trained, prefix, 1e-5)
    if prefix:
        return
    # in float32 a sample near a cell's centre falls on either side, which moves gradients
    images = replace(batch, images=batch.images.double())
    losses = detector.double()(images, golden.in_order)
    check_losses(losses, trained, prefix, 1e-6)
    sum(losses.values()).backward()
    system.check_gradients(detector, trained, found, prefix, "grad_norm", rtol=1e-4)


def check_losses(losses, trained, prefix, rtol):
    assert len(losses) == 3 * LAYERS
    for layer in range(LAYERS):
        before = f"d{layer}." if layer < LAYERS - 1 else ""
        for ours, theirs in (("cls", "cls"), ("l1", "bbox"), ("giou", "iou")):
            have = losses[f"loss_{ours}_{layer + 1}"].item()
            value = trained[f"{prefix}loss/{before}loss_{theirs}"]
            np.testing.assert_allclose(have, value, rtol=rtol, atol=1e-7, err_msg=ours)
    total = sum(losses.values()).item()
    np.testing.assert_allclose(total, trained[f"{prefix}loss/total"], rtol=rtol)


def test_every_key_of_the_large_one_is_used():
    state = system.one_head(system.weights("deformable-detr", "keys"))
    detector, found = system.build(state)
    assert found.recipe == "deformable-detr-r50-soda-d"
    assert "model.backbone.name=resnet50" in found.overrides
    assert found.classes == 9
    copies = [key for key in state if key.startswith(found.unused)]
    assert len(copies) == 5 * (2 + 6)
    assert len(detector.state_dict()) == len(state) - len(copies)
