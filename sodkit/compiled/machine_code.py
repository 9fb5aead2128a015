"""Object code becomes a function: what this computer is, and linking by llvmlite."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

_NUMBERS = {"i8": ctypes.c_int64, "f8": ctypes.c_double, "void": None}


def parse(signature: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the result, and type and number of axes (0: a number) of every argument."""
    result, _, rest = signature.replace(" ", "").partition("(")
    arguments = re.findall(r"([a-z]\d)(?:\[([:,]*)\])?", rest)
    return result, [(kind, axes.count(":")) for kind, axes in arguments]


def llvm() -> Any:
    """Return llvmlite's binding, which has no types."""
    return import_module("llvmlite.binding")


def machine() -> Any:
    """Return LLVM's description of this computer."""
    binding = llvm()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    # MCJIT loads ELF everywhere but on macOS; Windows' own format it relocates badly.
    triple = binding.get_process_triple() + ("-elf" if sys.platform == "win32" else "")
    return binding.Target.from_triple(triple).create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )


def link(code: bytes, name: str, signature: str) -> tuple[object, Callable[..., Any]]:
    """Load object code.

    Args:
        code: as ``compile_kernel`` returns it.
        name: of the function in it.
        signature: of the kernel.

    Returns:
        what must be kept alive, and the function: it takes numbers, and for each array its address
        and lengths.
    """
    binding = llvm()
    helpers, _, elf = code.partition(b"\n")
    # They would report exceptions and free arrays: kernels do neither, and numba is not there.
    never = ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p).value
    for symbol in helpers.decode().split():
        if not binding.address_of_symbol(symbol):
            binding.add_symbol(symbol, never)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(elf))
    engine.finalize_object()
    result, arguments = parse(signature)
    slots: list[Any] = []
    for kind, axes in arguments:
        slots += [ctypes.c_void_p] if axes else [_NUMBERS[kind]]
        slots += [ctypes.c_int64] * axes
    made = ctypes.CFUNCTYPE(_NUMBERS[result], *slots)
    return engine, made(engine.get_function_address(name))
