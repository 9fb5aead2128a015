"""A function of loops becomes object code, by numba; only here is numba imported."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from sodkit.compiled.machine_code import llvm, machine, parse

INNER = {
    "error_model": "numpy",
    "forceinline": True,  # a call that passes arrays costs as much as twenty tests of a pair
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
"""Options of numba. Nothing is made that only Python could call: compiling takes a fifth less."""


def compile_kernel(function: FunctionType, signature: str, name: str) -> bytes:
    """Have numba compile a function.

    Args:
        function: loops over arrays.
        signature: its types, see the package.
        name: for the function in the object code.

    Returns:
        a line with the names of numba's own functions that it refers to, and its object code with
        one visible function, ``name``.
    """
    import numba
    from numba import cfunc, float64, int32, int64, types, uint8, uint32, uint64, void

    plain = {"i8": int64, "i4": int32, "u8": uint64, "u4": uint32, "u1": uint8, "f8": float64}
    returned, arguments = parse(signature)
    heads, bodies, kinds = [], [], []
    for i, (kind, axes) in enumerate(arguments):
        sides = [f"n{i}_{axis}" for axis in range(axes)]
        heads += [f"a{i}", *sides]
        bodies.append(f"carray(a{i}, ({', '.join(sides)},))" if axes else f"a{i}")
        pointer: Any = types.CPointer
        kinds += [pointer(plain[kind]) if axes else plain[kind], *([int64] * axes)]
    carray: Any = vars(numba)["carray"]
    space: dict[str, Any] = {"inner": jitted(function, {}), "carray": carray}
    # numba takes no function of any number of arguments: its text is written out.
    exec(f"def outer({', '.join(heads)}):\n return inner({', '.join(bodies)})", space)
    compile_: Any = cfunc
    result: Any = plain.get(returned, void)
    made = compile_(result(*kinds), no_rewrites=True)(space["outer"])
    module = llvm().parse_assembly(made.inspect_llvm())
    for one in (*module.functions, *module.global_variables):
        if not one.is_declaration and one.name != made.native_name:
            one.linkage = "internal"
    module.get_function(made.native_name).name = name
    helpers = [one.name for one in module.functions if one.is_declaration]
    helpers = [one for one in helpers if one.startswith(("numba_", "NRT_"))]
    return b"%b\n%b" % (" ".join(helpers).encode(), machine().emit_object(module))


def jitted(
    function: FunctionType, done: dict[FunctionType, Any], options: Mapping[str, object] = INNER
) -> Any:
    """Return numba's version of a function, and of the functions it names.

    Args:
        function: what is to be compiled.
        done: filled with all functions that are.
        options: of numba.
    """
    from numba import njit

    if function not in done:
        space = dict(function.__globals__)
        for name in function.__code__.co_names:
            value = space.get(name)
            if isinstance(value, FunctionType):
                space[name] = jitted(value, done, options)
        copy = FunctionType(function.__code__, space, function.__name__, function.__defaults__)
        compile_: Any = njit
        done[function] = compile_(no_rewrites=True, **options)(copy)
    return done[function]
