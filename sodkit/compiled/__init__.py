"""Hot loops as machine code: compiled once by numba, afterwards loaded without it.

``@compiled("void(f8[:,:], i8[:])")`` turns a function of loops over arrays into machine code. The
first call on a machine compiles it (numba, seconds) and keeps the object code in a file; later
processes give that file to llvmlite, numba's own back end. numba has a cache, too. It is not used,
because importing numba takes longer than evaluating a small data set; ``sodkit eval`` of 60 images
(``python benchmarks/eval_speed.py --only start``):

| code kept by | s |
|---|---|
| this package | .40 |
| numba's own cache | .89 |

Where a file would not be safe to run (see ``object_files``), the code is compiled in every process,
and a line on stderr says why.

A signature names the result (``void``, ``i8`` or ``f8``) and every argument: ``i8`` and ``f8`` are
numbers, ``f8[:,:]`` is a C-contiguous array of float64 with two axes; the types are numpy's short
names, ``u1`` also takes arrays of bool. Inside, such a function may call plain functions of this
project (they are compiled with it and take and return what they like), but it must not allocate
(``np.empty`` and the like) nor raise: the caller passes the room it needs. The GIL is released.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from sodkit.compiled.machine_code import link, parse
from sodkit.compiled.numba_code import compile_kernel
from sodkit.compiled.object_files import files, find_place, fingerprint, read_code, write_code
from sodkit.private_file import NotPrivateError

P = ParamSpec("P")
R = TypeVar("R")

_LOCK = threading.Lock()
_NOTED = threading.Event()
"""Set when this process has said why it compiles what was compiled before."""


def compiled(signature: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function on its first call; see the head of this file for what it may do.

    Args:
        signature: result and arguments, e.g. ``"i8(f8[:,:], i8[:], f8)"``.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        return Kernel(function, signature)

    return wrap


class Kernel(Generic[P, R]):
    """A compiled function.

    Attributes:
        function: its Python original, to call it uncompiled.
        signature: its types.
        arguments: type and number of axes (0: a number) of every argument.
    """

    def __init__(self, function: Callable[P, R], signature: str) -> None:
        self.function = cast(FunctionType, function)
        self.signature = signature
        _, self.arguments = parse(signature)
        self._native: Callable[..., Any] | None = None
        self._keep: object = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the machine code; TypeError if an argument does not fit the signature."""
        native = self._native or self._load()
        if kwargs or len(args) != len(self.arguments):
            raise TypeError(f"{self.function.__name__} takes {len(self.arguments)} arguments")
        flat: list[object] = []
        for (kind, axes), value in zip(self.arguments, args, strict=True):
            if axes:
                flat += as_pointer(self.function.__name__, kind, axes, value)
            else:
                flat.append(value)
        return cast(R, native(*flat))

    def _load(self) -> Callable[..., Any]:
        """Return the machine code as a function of numbers and addresses; compile it if new."""
        with _LOCK:
            if self._native is None:
                mark = fingerprint(self.function, self.signature)
                code = _code(self.function, self.signature, mark)
                self._keep, self._native = link(code, f"kernel_{mark}", self.signature)
            return self._native


def as_pointer(name: str, kind: str, axes: int, array: Any) -> list[object]:
    """Return an array's address and lengths.

    Args:
        name: of the function, for the message.
        kind: the type that the signature has.
        axes: the number of axes that the signature has.
        array: what was given.

    Raises:
        TypeError: it has another type or number of axes, or is not contiguous.
    """
    have = array.dtype.str[1:].replace("b1", "u1")
    if have != kind or array.ndim != axes or not array.flags.c_contiguous:
        raise TypeError(f"{name}: {have} array of {array.ndim} axes, expected {kind} of {axes}")
    return [array.__array_interface__["data"][0], *array.shape]


def _code(function: FunctionType, signature: str, mark: str) -> bytes:
    """Return the object code, from its file if there is one; compile it otherwise."""
    paths = files(function, mark)
    code, refused = read_code(paths)
    if code is not None:
        return code
    place = find_place(paths)
    refused = refused or (place if isinstance(place, NotPrivateError) else None)
    if refused is not None and not _NOTED.is_set():
        _NOTED.set()
        print(f"compiling anew, which takes seconds: {refused}", file=sys.stderr, flush=True)
    code = compile_kernel(function, signature, f"kernel_{mark}")
    if isinstance(place, Path):
        write_code(place, code)
    return code
