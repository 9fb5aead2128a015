import hashlib
import re
from http.client import HTTPException
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from sodkit.errors import ModelError
from sodkit.models.parts import backbone as module
from sodkit.models.parts.backbone import Backbone, load_weights
from sodkit.settings.base import Backbone as BackboneSettings


def config(**values):
    return BackboneSettings(**({"name": "resnet18", "weights": None} | values))


def random_norms(module):
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            nn.init.normal_(norm.weight, 1.0, 0.2)
            nn.init.normal_(norm.bias, std=0.2)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("training", [False, True])
def test_it_computes_what_torchvision_computes(name, training):
    """In eval mode by folded norms, in training (norm: batch) by ordinary ones."""
    torch.manual_seed(0)
    theirs = get_model(name, weights=None)
    random_norms(theirs)
    ours = Backbone(config(name=name, norm="batch", frozen_stages=0))
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if "fc" not in k})
    ours.train(training)
    theirs.train(training)
    x = torch.randn(2, 3, 64, 96)
    want = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    found = ours(x)
    for layer, have, channels in zip(
        (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4),
        found,
        ours.channels,
        strict=True,
    ):
        want = layer(want)
        assert have.shape[1] == channels
        torch.testing.assert_close(have, want, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ours.bn1.running_mean, theirs.bn1.running_mean)


def test_folded_norms_have_the_gradients_of_ordinary_ones():
    torch.manual_seed(0)
    ours = Backbone(config(frozen_stages=0)).double()
    random_norms(ours)
    plain = get_model("resnet18", weights=None).double().eval()
    plain.load_state_dict(ours.state_dict(), strict=False)
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    ours(x)[3].square().sum().backward()
    y = plain.maxpool(plain.relu(plain.bn1(plain.conv1(x))))
    y = plain.layer4(plain.layer3(plain.layer2(plain.layer1(y))))
    y.square().sum().backward()
    wanted = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name].grad)


@pytest.mark.parametrize(("stages", "frozen"), [(0, ()), (1, ("conv1", "bn1")), (2, ("layer1",))])
def test_frozen_stages(stages, frozen):
    backbone = Backbone(config(frozen_stages=stages, norm="batch"))
    for name, parameter in backbone.named_parameters():
        inside = name.startswith(("conv1", "bn1")) and stages >= 1
        inside |= name.startswith("layer1") and stages >= 2
        assert parameter.requires_grad != inside, name
    assert all(any(n.startswith(f) for n, _ in backbone.named_parameters()) for f in frozen)
    before = {k: v.clone() for k, v in backbone.state_dict().items() if "running_mean" in k}
    backbone.train()(torch.randn(2, 3, 64, 64))
    for key, value in backbone.state_dict().items():
        if "running_mean" in key:
            inside = (key.startswith("bn1") and stages >= 1) or (
                key.startswith("layer1") and stages >= 2
            )
            assert torch.equal(value, before[key]) == inside, key


def test_frozen_norms_stay_frozen_but_their_affine_is_trained():
    backbone = Backbone(config())
    for mode in (True, False, True):
        backbone.train(mode)
        assert not any(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
    before = backbone.layer4[0].bn1.running_mean.clone()
    backbone(torch.randn(1, 3, 64, 64))[3].sum().backward()
    assert torch.equal(backbone.layer4[0].bn1.running_mean, before)
    assert backbone.layer4[0].bn1.weight.grad.abs().sum() > 0
    assert backbone.layer1[0].conv1.weight.grad is None


def test_fixed_norms_are_not_trained_and_all_else_is():
    backbone = Backbone(config(norm="fixed", frozen_stages=0))
    backbone.train()
    backbone(torch.randn(1, 3, 64, 64))[3].sum().backward()
    for name, part in backbone.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            assert not part.training
            assert part.weight.grad is part.bias.grad is None
        if isinstance(part, nn.Conv2d):
            assert part.weight.grad is not None, name


@pytest.mark.parametrize(("place", "strides"), [("3x3", (1, 2)), ("1x1", (2, 1))])
def test_the_stride_of_a_bottleneck(place, strides):
    """The maps have the same sizes, whichever convolution has it; layer1 has no stride."""
    backbone = Backbone(config(name="resnet50", stride_in=place))
    for stage, moved in ((backbone.layer1, (1, 1)), (backbone.layer2, strides)):
        block = stage[0]
        assert (block.conv1.stride, block.conv2.stride) == tuple((s, s) for s in moved)
    sizes = [stage.shape[-1] for stage in backbone(torch.zeros(1, 3, 64, 64))]
    assert sizes == [16, 8, 4, 2]


def test_weights_from_a_file(tmp_path):
    state = get_model("resnet18", weights=None).state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    backbone = Backbone(config())
    load_weights(backbone, config(weights=str(tmp_path / "resnet18.pth")))
    assert torch.equal(backbone.layer2[0].conv1.weight, state["layer2.0.conv1.weight"])


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", ["missing", "text", "other", "list", "pickle"])
def test_weights_that_cannot_be_used(tmp_path, content, capsys):
    path = tmp_path / "weights.pth"
    if content == "text":
        path.write_text("not a checkpoint")
    if content == "other":
        torch.save(get_model("resnet34", weights=None).state_dict(), path)
    if content == "list":
        torch.save([1, 2], path)
    if content == "pickle":
        torch.save({"conv1.weight": Evil()}, path)
    with pytest.raises(ModelError) as error:
        load_weights(Backbone(config()), config(weights=str(path)))
    assert str(path) in str(error.value)
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv1.weight"), "no conv1.weight$"),
        (lambda state: state.update(x=torch.ones(1)), "unknown 'x'$"),
        (
            lambda state: state.update({"bn1.bias": torch.ones(3)}),
            r"bn1.bias has shape \(3,\), not",
        ),
        (lambda state: state.clear(), r"no conv1.weight \(and 99 more\)"),
        (lambda state: state.update({"bn1.bias": torch.ones(64).to_sparse()}), "cannot be copied"),
    ],
)
def test_weights_that_do_not_fit_are_named_briefly(tmp_path, change, message):
    state = get_model("resnet18", weights=None).state_dict()
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ModelError) as caught:
        load_weights(Backbone(config()), config(weights=str(tmp_path / "weights.pth")))
    assert re.search(message, caught.value.what)
    assert len(caught.value.what) < 200


def test_weights_without_counters_are_taken(tmp_path):
    """Files from before batch norm counted its batches."""
    state = get_model("resnet18", weights=None).state_dict()
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "weights.pth")
    backbone = Backbone(config())
    load_weights(backbone, config(weights=str(tmp_path / "weights.pth")))
    assert torch.equal(backbone.conv1.weight, state["conv1.weight"])


def test_names_of_weights_must_be_text(tmp_path):
    torch.save({1: torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="no state_dict"):
        load_weights(Backbone(config()), config(weights=str(tmp_path / "weights.pth")))


@pytest.mark.parametrize(
    "error", [URLError("no route"), HTTPException("no route"), RuntimeError("no route")]
)
def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ModelError, match=r"no route") as caught:
        load_weights(Backbone(config()), config(weights="imagenet"))
    assert "model.backbone.weights=" in caught.value.hint
    assert str(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in caught.value.hint


@pytest.mark.parametrize("content", ["pickle", "text", "empty", "folder", "sound"])
def test_a_cached_file_must_be_the_one_published(tmp_path, monkeypatch, capsys, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    if content == "pickle":
        torch.save({"conv1.weight": Evil()}, path)
    elif content == "sound":
        torch.save(get_model("resnet18", weights=None).state_dict(), path)
    elif content == "folder":
        path.mkdir()
    else:
        path.write_text("not a checkpoint" if content == "text" else "")
    with pytest.raises(ModelError) as caught:
        load_weights(Backbone(config()), config(weights="imagenet"))
    assert caught.value.where == str(path)
    assert ("is not the file that was published" in caught.value.what) == (content != "folder")
    assert capsys.readouterr().out == ""


def published(folder, content):
    """Save a file under a name with its hash, as torch's site has them; return its URL."""
    torch.save(content, folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    return (folder / "new.pth").rename(folder / f"net-{digest[:8]}.pth").as_uri()


def test_what_is_published_is_downloaded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    url = published(tmp_path, {"a": torch.ones(3)})
    path = module._downloaded(url)
    assert torch.equal(module._read(path)["a"], torch.ones(3))
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert module._downloaded(url) == path


def test_a_download_of_something_else_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    url = published(tmp_path, {"a": torch.ones(3)})
    (tmp_path / url.rpartition("/")[2]).write_bytes(b"something else")
    with pytest.raises(ModelError, match="invalid hash value"):
        module._downloaded(url)
    assert not list((tmp_path / "home").rglob("*.p*"))


def test_a_published_file_is_not_unpickled_either(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    path = module._downloaded(published(tmp_path, {"a": Evil()}))
    with pytest.raises(ModelError, match=r"names print, which may run code"):
        module._read(path)
    assert capsys.readouterr().out == ""
