"""Object code in files: where they are, how they are named, and when one may be run.

A file is run as it stands. So it is used, and written, only where no one but the user (or root) can
have put it: see ``private_file``. A checksum finds damage, no malice. The file's name holds a
digest of everything the code depends on, so a file that fits need not be checked further.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import FunctionType

import numpy as np

from sodkit.compiled.machine_code import llvm
from sodkit.compiled.numba_code import INNER
from sodkit.errors import SodkitError
from sodkit.files import write_bytes
from sodkit.private_file import NotPrivateError, check_folder, make_folder, read_private

_FORM = b"2"
"""Changes when the way of compiling does: old files are then left alone."""


def files(function: FunctionType, fingerprint: str) -> list[Path]:
    """Return where object code may be: beside Python's byte code, else in the user's cache."""
    name = f"{function.__module__}.{function.__name__}-{fingerprint}.o"
    folders = [Path(function.__code__.co_filename).parent / "__pycache__"]
    local = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):
        folders.append(Path(local or Path.home() / ".cache") / "sodkit")
    return [folder / name for folder in folders]


def read_code(paths: list[Path]) -> tuple[bytes | None, NotPrivateError | None]:
    """Return the object code of the first file that may be run.

    Returns:
        the code, None if there is none; and why a file was not used, None if all were.
    """
    refused = None
    for path in paths:
        try:
            digest, _, code = read_private(path).partition(b"\n")
        except OSError:
            continue
        except NotPrivateError as error:
            refused = refused or error
            continue
        if digest == _sum(code):  # running a damaged file would crash the process
            return code, None
    return None, refused


def find_place(paths: list[Path]) -> Path | NotPrivateError | None:
    """Return the first file whose folder is private and can be written to.

    Returns:
        the file; if there is none, why, and None if that is not known.
    """
    refused = None
    for path in paths:
        beside = path.parent.name == "__pycache__"  # others may use an installation, too
        try:
            make_folder(path.parent, 0o755 if beside else 0o700)
            check_folder(path.parent)
        except OSError:
            continue
        except NotPrivateError as error:
            refused = refused or error
            continue
        if os.access(path.parent, os.W_OK):
            return path
    return refused


def write_code(path: Path, code: bytes) -> None:
    """Keep object code in a file, if it can be written."""
    with suppress(OSError, SodkitError):
        write_bytes(path, _sum(code) + b"\n" + code, mode=0o644)


def _sum(code: bytes) -> bytes:
    return hashlib.sha256(code).hexdigest().encode()


def fingerprint(function: FunctionType, signature: str) -> str:
    """Return a digest of everything the machine code depends on."""
    binding = llvm()
    digest = hashlib.sha256(repr(INNER).encode() + _FORM)
    host = (binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())
    version = (binding.llvm_version_info, sys.version_info[:2], sys.platform, np.__version__)
    digest.update(repr((signature, host, version)).encode())
    _digest_code(function, digest, set())
    return digest.hexdigest()[:32]


def _digest_code(function: FunctionType, digest: hashlib._Hash, done: set[FunctionType]) -> None:
    """Digest a function's byte code with the functions and constants it names."""
    code = function.__code__
    done.add(function)
    digest.update(repr((code.co_code, code.co_consts, code.co_names, code.co_varnames)).encode())
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType):
            if value not in done:
                _digest_code(value, digest, done)
        elif isinstance(value, np.ndarray):
            digest.update(value.tobytes())
        elif isinstance(value, int | float):
            digest.update(repr(value).encode())
