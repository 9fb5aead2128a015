"""Changes inside of archives that keep the archive sound: zip (npz, torch), npy, safetensors."""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from random import Random

from . import spoil_bytes, spoil_tree
from .values import STRINGS

_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip
_DATE = (1980, 1, 1, 0, 0, 0)
_SHAPES = (
    "()", "(0,)", "(1,)", "(3,)", "(-1,)", "(2, 4)", "(0, 4)", "(1000000000,)", "(10000000000000,)",
    "(2, 2, 2, 2)", "(1.5,)", "('a',)", "None", "(2**62,)", "(9223372036854775807, 2)", "[3]",
    "(True,)", "(" * 300,
)  # fmt: skip
_TYPES = (
    "'<f8'", "'<f4'", "'<f2'", "'<i8'", "'>i8'", "'<u8'", "'|b1'", "'|O'", "'<U3'", "'|S3'",
    "'<M8[s]'", "'<m8[s]'", "'<c16'", "'|V8'", "'<f16'", "[('a', '<f8')]", "'x'", "None", "''",
    "('<f8', (2,))", "'<i1000000000'", "'|V2000000000'",
)  # fmt: skip


def pack(parts: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of named parts, the same bytes at any time."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # of a name that occurs twice: it is meant
        for name, content in parts:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = method
            archive.writestr(entry, content)
    return stream.getvalue()


def unpack(data: bytes) -> list[tuple[str, bytes]]:
    """Return the named parts of a zip.

    Raises:
        ValueError: if it is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except _BROKEN as error:
        raise ValueError("not a zip") from error


def members(random: Random, data: bytes, other: bytes) -> bytes:
    """Return a sound zip with a member changed, renamed, removed or repeated."""
    parts = unpack(data)
    at = random.randrange(len(parts))
    name, content = parts[at]
    kind = random.randrange(10)
    if kind == 0:
        del parts[at]
    elif kind == 1:
        names = (*(n for n, _ in parts), *(s[:2000] for s in STRINGS), f"x/{name}", f"../{name}")
        parts[at] = (random.choice(names), content)
    elif kind == 2:
        parts.append((random.choice([n for n, _ in parts]), content))
    elif name.endswith(".npy") and kind < 7:
        parts[at] = (name, _npy(random, content))
    elif name.endswith(".pkl"):
        parts[at] = (name, pickled(random, content, b""))
    else:
        parts[at] = (name, spoil_bytes.any_change(random, content, parts[-1][1]))
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    return pack(parts, method)


def _npy(random: Random, data: bytes) -> bytes:
    """Return an npy array whose header says something else."""
    length = int.from_bytes(data[8:10], "little")
    header, body = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    kind = random.randrange(5)
    if kind == 0:
        header = re.sub(r"'shape': [^}]*,", f"'shape': {random.choice(_SHAPES)},", header, count=1)
    elif kind == 1:
        header = header.replace(re.findall(r"'descr': ('[^']*')", header)[0], random.choice(_TYPES))
    elif kind == 2:
        header = header.replace("False", random.choice(("True", "None", "1", "x")))
    elif kind == 3:
        header = spoil_bytes.any_change(random, header.encode("latin-1"), b"").decode("latin-1")
    else:
        body = random.choice((b"", body[:-1], b"\xff" * len(body), body * 3, b"\0" * len(body)))
    text = header.rstrip() + "\n"
    return data[:8] + (len(text) % 65536).to_bytes(2, "little") + text.encode("latin-1") + body


_OPCODES = b".()0123}{][abcdeghijlopqrstuBCFGIJKLMNPQRSTUVX\x80\x81\x85\x86\x87\x88\x89\x93\x94\x95"


def pickled(random: Random, data: bytes, other: bytes) -> bytes:
    """Return a pickle with an opcode or a name in it changed."""
    kind = random.randrange(5)
    names = [match.span() for match in re.finditer(rb"[\w.]{3,}", data)]
    if kind == 0 and names:
        start, stop = random.choice(names)
        a, b = random.choice(names)
        return data[:start] + data[a:b] + data[stop:]
    at = random.randint(0, max(len(data) - 1, 0))
    if kind == 1:
        return data[:at] + bytes([random.choice(_OPCODES)]) + data[at + 1 :]
    if kind == 2:
        piece = bytes(random.choice(_OPCODES) for _ in range(random.choice((1, 2, 5))))
        return data[:at] + piece + data[at:]
    if kind == 3:
        return data[:at] + random.choice((b"(" * 5000, b"]" * 5000, b"(t" * 3000)) + data[at:]
    return spoil_bytes.any_change(random, data, other)


def safetensors(random: Random, data: bytes, other: bytes) -> bytes:
    """Return safetensors with another header of correct length, or another body."""
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    kind = random.randrange(6)
    if kind == 0:
        body = spoil_bytes.any_change(random, body, b"")
    elif kind == 1:
        header = spoil_bytes.any_change(random, header, b"")
    elif kind == 2:
        header = spoil_tree.json_text(random, header, b"")
    else:
        header = _metadata(random, header)
    return len(header).to_bytes(8, "little") + header + body


def _metadata(random: Random, header: bytes) -> bytes:
    """Return the header with a change inside of a text of its metadata, which is JSON itself."""
    content = json.loads(header)
    key = random.choice(sorted(content["__metadata__"]))
    text = content["__metadata__"][key].encode()
    change = spoil_tree.json_text if random.random() < 0.8 else spoil_bytes.any_change
    content["__metadata__"][key] = change(random, text, b"").decode("utf-8", "replace")
    return json.dumps(content).encode()
