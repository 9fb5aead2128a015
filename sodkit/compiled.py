"""Hot loops as machine code: compiled once by numba, afterwards loaded without it.

``@compiled("void(f8[:,:], i8[:])")`` turns a function of loops over arrays into machine code. The
first call on a machine compiles it (numba, seconds) and keeps the object code in a file; later
processes hand that file to llvmlite, numba's own back end, in milliseconds. Importing numba and
having it load its cache would take longer than evaluating a small data set.

The file is run as it stands. So it is used, and written, only where nobody but the user (or root)
can have put it: see ``private_file``. Elsewhere the code is compiled in every process, and a line
on stderr says why. A checksum finds damage, no malice.

A signature names the result (``void``, ``i8`` or ``f8``) and every argument: ``i8`` and ``f8`` are
numbers, ``f8[:,:]`` is a C-contiguous array of float64 with two axes; the types are numpy's short
names, ``u1`` also takes arrays of bool. Inside, such a function may call plain functions of this
project (they are compiled with it and take and return what they like), but it must not allocate
(``np.empty`` and the like) nor raise: the caller hands in the room it needs. The GIL is released.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

from sodkit.errors import SodkitError
from sodkit.files import write_bytes
from sodkit.private_file import NotPrivateError, check_folder, make_folder, read_private

P = ParamSpec("P")
R = TypeVar("R")

_NUMBERS = {"i8": ctypes.c_int64, "f8": ctypes.c_double, "void": None}
_LOCK = threading.Lock()
_NOTED = threading.Event()
"""Set when this process has said why it compiles what was compiled before."""

THREADS = min(os.cpu_count() or 1, 8)
"""Threads that share out compiled work; no result depends on it."""

_INNER = {
    "error_model": "numpy",
    "forceinline": True,  # a call that passes arrays costs as much as twenty tests of a pair
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
"""Nothing is made that only Python could call: compiling takes a fifth less."""

_FORM = b"2"
"""Changes when the way of compiling does: old files are then left alone."""


def compiled(signature: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function on its first call; see the head of this file for what it may do.

    Args:
        signature: result and arguments, e.g. ``"i8(f8[:,:], i8[:], f8)"``.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        return Kernel(function, signature)

    return wrap


_CHILD = """
import sys
from importlib import import_module
count = int(sys.argv[1])
sys.path[:] = sys.argv[2 : 2 + count]
for name in sys.argv[2 + count :]:
    module, _, kernel = name.partition(":")
    getattr(import_module(module), kernel).load()
"""


def prepare(*kernels: object) -> None:
    """Compile what has never been compiled on this machine, half of it in a second process.

    Args:
        kernels: compiled functions of modules, those that take longest first.
    """
    missing = [one for one in kernels if isinstance(one, Kernel) and not one.is_ready()]
    if len(missing) < 2 or not isinstance(_place(missing[0]), Path):
        return
    names = [f"{one.function.__module__}:{one.function.__name__}" for one in missing[1::2]]
    command = [sys.executable, "-c", _CHILD, str(len(sys.path)), *sys.path, *names]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for one in missing[::2]:
            one.load()
    finally:
        child.wait()  # should it have failed, its half is compiled here when needed


class Kernel(Generic[P, R]):
    """A compiled function; ``function`` is its Python original, to call it uncompiled."""

    def __init__(self, function: Callable[P, R], signature: str) -> None:
        self.function = cast(FunctionType, function)
        self.signature = signature
        self._result, self._arguments = _parse(signature)
        self._native: Callable[..., Any] | None = None
        self._keep: object = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the machine code; TypeError if an argument does not fit the signature."""
        native = self._native or self.load()
        if kwargs or len(args) != len(self._arguments):
            raise TypeError(f"{self.function.__name__} takes {len(self._arguments)} arguments")
        flat: list[object] = []
        for (kind, axes), value in zip(self._arguments, args, strict=True):
            if axes:
                flat += _as_pointer(self.function.__name__, kind, axes, value)
            else:
                flat.append(value)
        return cast(R, native(*flat))

    def is_ready(self) -> bool:
        """Tell whether the machine code is there."""
        return self._native is not None or _kept(self)[0] is not None

    def load(self) -> Callable[..., Any]:
        """Return the machine code as a function of numbers and addresses; compile it if new."""
        with _LOCK:
            if self._native is None:
                name = f"kernel_{_fingerprint(self)}"
                code = _cached(self, name)
                self._keep, address = _link(code, name)
                slots: list[Any] = []
                for kind, axes in self._arguments:
                    slots += [ctypes.c_void_p] if axes else [_NUMBERS[kind]]
                    slots += [ctypes.c_int64] * axes
                self._native = ctypes.CFUNCTYPE(_NUMBERS[self._result], *slots)(address)
            return self._native


def _parse(signature: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the result, and type and number of axes (0: a number) of every argument."""
    result, _, rest = signature.replace(" ", "").partition("(")
    arguments = re.findall(r"([a-z]\d)(?:\[([:,]*)\])?", rest)
    return result, [(kind, axes.count(":")) for kind, axes in arguments]


def _as_pointer(name: str, kind: str, axes: int, array: Any) -> list[object]:
    """Return an array's address and shape."""
    have = array.dtype.str[1:].replace("b1", "u1")
    if have != kind or array.ndim != axes or not array.flags.c_contiguous:
        raise TypeError(f"{name}: {have} array of {array.ndim} axes, expected {kind} of {axes}")
    return [array.__array_interface__["data"][0], *array.shape]


def _cached(kernel: Kernel[P, R], name: str) -> bytes:
    """Return the object code, from its file if there is one; compile it otherwise."""
    code, refused = _kept(kernel)
    if code is not None:
        return code
    place = _place(kernel)
    refused = refused or (place if isinstance(place, NotPrivateError) else None)
    if refused is not None and not _NOTED.is_set():
        _NOTED.set()
        print(f"compiling anew, which takes seconds: {refused}", file=sys.stderr, flush=True)
    code = _compile(kernel, name)
    if isinstance(place, Path):
        with suppress(OSError, SodkitError):
            write_bytes(place, _sum(code) + b"\n" + code, mode=0o644)
    return code


def _kept(kernel: Kernel[P, R]) -> tuple[bytes | None, NotPrivateError | None]:
    """Return the object code from a file, None if there is none; and why a file was not used."""
    refused = None
    for path in _files(kernel):
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


def _place(kernel: Kernel[P, R]) -> Path | NotPrivateError | None:
    """Return the file to keep object code in; where there is none, why, if that is known."""
    refused = None
    for path in _files(kernel):
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


def _sum(code: bytes) -> bytes:
    return hashlib.sha256(code).hexdigest().encode()


def _files(kernel: Kernel[P, R]) -> list[Path]:
    """Return where object code may be: beside Python's byte code, else in the user's cache."""
    function = kernel.function
    name = f"{function.__module__}.{function.__name__}-{_fingerprint(kernel)}.o"
    folders = [Path(function.__code__.co_filename).parent / "__pycache__"]
    local = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):
        folders.append(Path(local or Path.home() / ".cache") / "sodkit")
    return [folder / name for folder in folders]


def _fingerprint(kernel: Kernel[P, R]) -> str:
    """Return a digest of everything the machine code depends on."""
    llvm = _llvm()

    digest = hashlib.sha256(repr(_INNER).encode() + _FORM)
    host = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    version = (llvm.llvm_version_info, sys.version_info[:2], sys.platform, np.__version__)
    digest.update(repr((kernel.signature, host, version)).encode())
    _digest_code(kernel.function, digest, set())
    return digest.hexdigest()[:32]


def _digest_code(function: FunctionType, digest: hashlib._Hash, done: set[str]) -> None:
    """Digest a function's byte code with the functions and constants it names."""
    code = function.__code__
    done.add(_key(function))
    digest.update(repr((code.co_code, code.co_consts, code.co_names, code.co_varnames)).encode())
    for name in code.co_names:
        value = _unwrapped(function.__globals__.get(name))
        if isinstance(value, FunctionType):
            if _key(value) not in done:
                _digest_code(value, digest, done)
        elif isinstance(value, np.ndarray):
            digest.update(value.tobytes())
        elif isinstance(value, int | float):
            digest.update(repr(value).encode())


def _key(function: FunctionType) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _unwrapped(value: object) -> object:
    return value.function if isinstance(value, Kernel) else value


def _compile(kernel: Kernel[P, R], name: str) -> bytes:
    """Have numba compile a kernel.

    Returns:
        a line with the names of numba's own functions that it refers to, and its object code with
        one visible function, ``name``.
    """
    import numba
    from numba import cfunc, float64, int32, int64, types, uint8, uint32, uint64, void

    plain = {"i8": int64, "i4": int32, "u8": uint64, "u4": uint32, "u1": uint8, "f8": float64}
    heads, bodies, kinds = [], [], []
    for i, (kind, axes) in enumerate(kernel._arguments):
        sides = [f"n{i}_{axis}" for axis in range(axes)]
        heads += [f"a{i}", *sides]
        bodies.append(f"carray(a{i}, ({', '.join(sides)},))" if axes else f"a{i}")
        pointer: Any = types.CPointer
        kinds += [pointer(plain[kind]) if axes else plain[kind], *([int64] * axes)]
    carray: Any = vars(numba)["carray"]
    space: dict[str, Any] = {"inner": _jitted(kernel.function, {}), "carray": carray}
    exec(f"def outer({', '.join(heads)}):\n return inner({', '.join(bodies)})", space)
    compile_: Any = cfunc
    result: Any = plain.get(kernel._result, void)
    made = compile_(result(*kinds), no_rewrites=True)(space["outer"])
    module = _llvm().parse_assembly(made.inspect_llvm())
    for one in (*module.functions, *module.global_variables):
        if not one.is_declaration and one.name != made.native_name:
            one.linkage = "internal"
    module.get_function(made.native_name).name = name
    helpers = [one.name for one in module.functions if one.is_declaration]
    helpers = [one for one in helpers if one.startswith(("numba_", "NRT_"))]
    return b"%b\n%b" % (" ".join(helpers).encode(), _machine().emit_object(module))


def _jitted(
    function: FunctionType, done: dict[str, Any], options: Mapping[str, object] = _INNER
) -> Any:
    """Return numba's version of a function, and of the functions it names."""
    from numba import njit

    key = _key(function)
    if key not in done:
        space = dict(function.__globals__)
        for name in function.__code__.co_names:
            value = _unwrapped(space.get(name))
            if isinstance(value, FunctionType):
                space[name] = _jitted(value, done, options)
        copy = FunctionType(function.__code__, space, function.__name__, function.__defaults__)
        compile_: Any = njit
        done[key] = compile_(no_rewrites=True, **options)(copy)
    return done[key]


def _llvm() -> Any:
    """Return llvmlite's binding, which has no types."""
    return import_module("llvmlite.binding")


def _machine() -> Any:
    """Return LLVM's description of this computer."""
    llvm = _llvm()

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # MCJIT loads ELF everywhere but on macOS; Windows' own format it relocates badly.
    triple = llvm.get_process_triple() + ("-elf" if sys.platform == "win32" else "")
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )


def _link(code: bytes, name: str) -> tuple[object, int]:
    """Load object code; return what must be kept alive, and the address of the function."""
    llvm = _llvm()

    helpers, _, elf = code.partition(b"\n")
    # They would report exceptions and free arrays: kernels do neither, and numba is not there.
    never = ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p).value
    for symbol in helpers.decode().split():
        if not llvm.address_of_symbol(symbol):
            llvm.add_symbol(symbol, never)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(elf))
    engine.finalize_object()
    return engine, engine.get_function_address(name)
