"""The environment for a bug report is found out whatever is broken."""

from __future__ import annotations

import builtins
import json
import stat
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import sodkit
from sodkit.compiled import object_files
from sodkit.engine.environment import environment
from sodkit.private_file import NotPrivateError


def test_all_sections_are_there_and_become_json() -> None:
    found = json.loads(json.dumps(environment()))
    assert list(found) == ["versions", "machine", "devices", "kernels", "codecs", "extras"]
    assert not [name for name, section in found.items() if "error" in section]
    assert found["versions"]["sodkit"] == sodkit.__version__
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["versions"]["numpy"] == metadata.version("numpy")
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory_gb"] > 0
    assert found["devices"]["cpu"] == f"{torch.get_num_threads()} threads"
    assert found["codecs"]["jpg"] is True
    assert found["codecs"]["png"] is True
    assert found["extras"]["tensorboard"] == "installed"


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("onnx", "numba"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = environment()
    assert found["versions"]["numba"] is None
    assert found["extras"]["onnx"] == "missing: onnx"


def test_cards_and_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="Card 9", total_memory=24_000_000_000)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    found = environment()["devices"]
    assert found["cuda:0"] == found["cuda:1"] == "Card 9, 24.0 GB"
    assert found["mps"] == "available"


@pytest.mark.parametrize(
    ("place", "why"),
    [(None, "no folder can be written to"), (NotPrivateError("/x", "is open"), "/x is open")],
)
def test_kernels_that_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, place: NotPrivateError | None, why: str
) -> None:
    monkeypatch.setattr(object_files, "find_place", lambda paths: place)
    found = environment()["kernels"]
    assert found["usable"] is False
    assert str(found["why"]).startswith(why)


def test_kernels_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRWXU)
    (tmp_path / "a.o").touch()
    monkeypatch.setattr(object_files, "find_place", lambda paths: tmp_path / "probe.o")
    assert environment()["kernels"] == {
        "usable": True, "folder": str(tmp_path), "files": 1,
    }  # fmt: skip


def test_a_broken_installation_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any, **more: Any) -> Any:
        if name in ("torch", "cv2"):
            raise OSError(f"lib{name}.so: cannot open shared object file")
        return real(name, *rest, **more)

    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", broken)
        found = environment()
    assert found["devices"] == {"error": "OSError: libtorch.so: cannot open shared object file"}
    assert found["codecs"] == {"error": "OSError: libcv2.so: cannot open shared object file"}
    assert "PackageNotFoundError" in str(found["versions"]["error"])
    assert "error" not in found["machine"]
