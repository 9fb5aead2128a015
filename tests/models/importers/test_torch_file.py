"""Files of torch.save: what is refused is named in one sentence, and nothing in it runs."""

import pickle
import random
import tarfile
import zipfile
from collections import OrderedDict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.errors import ModelError
from sodkit.models.importers import torch_file

DAMAGED = "it is damaged, or no file of torch.save"


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def read(path):
    return torch_file.read(path, "the weights", "give others")


def test_plain_numbers_beside_the_weights_are_read(tmp_path):
    content = {"state_dict": OrderedDict(a=torch.ones(2)), "best": np.float64(0.5), "n": [1, None]}
    torch.save(content, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert torch.equal(found["state_dict"]["a"], torch.ones(2))
    assert found["best"] == 0.5


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"a": Evil()}, "print"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        ({"meta": date(2020, 1, 1)}, "datetime.date"),
        ({"meta": Path("a")}, "PosixPath|WindowsPath"),
    ],
)
def test_objects_are_refused_by_name(tmp_path, capfd, new, content, name):
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(ModelError, match=f"it names .*({name}), which may run code") as caught:
        read(tmp_path / "a.pth")
    assert "weights_only" not in str(caught.value)
    assert str(caught.value).count("\n") == 1  # the hint
    assert capfd.readouterr() == ("", "")


def test_a_name_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": Evil()}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"print", b"p\x1b[1m"))
    with pytest.raises(ModelError, match=r"names p\?\[1m"):
        read(path)


def archive(path):
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("a.txt", "x")


def tar(path):
    with tarfile.open(path, "w"):
        pass


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.write_bytes(b""), DAMAGED),
        (lambda path: path.write_text("<html>404</html>"), DAMAGED),
        (lambda path: path.write_bytes(random.Random(0).randbytes(5000)), DAMAGED),
        (lambda path: path.write_bytes(pickle.dumps({"a": Evil()}, protocol=5)), DAMAGED),
        (archive, DAMAGED),
        (tar, "tar|damaged"),
    ],
    ids=["absent", "folder", "empty", "page", "noise", "pickle", "zip", "tar"],
)
def test_what_is_no_such_file(tmp_path, capfd, make, reason):
    make(tmp_path / "a.pth")
    with pytest.raises(ModelError, match=f"the weights cannot be read: .*{reason}") as caught:
        read(tmp_path / "a.pth")
    assert caught.value.where == str(tmp_path / "a.pth")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("new", [True, False])
def test_any_damage_is_one_error(tmp_path, new):
    rng = random.Random(0)
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(3), "b": [1, "x"]}, path, _use_new_zipfile_serialization=new)
    sound = path.read_bytes()
    refused = 0
    for _ in range(200):
        data = bytearray(sound)
        for _ in range(rng.choice([1, 2, 5])):
            data[rng.randrange(len(data))] = rng.choice([0, 255, rng.randrange(256)])
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        try:
            read(path)
        except ModelError:
            refused += 1
    assert refused > 50
