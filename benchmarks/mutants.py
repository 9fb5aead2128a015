"""Mutants of Python source: every small change that tests should notice, made on its syntax tree.

One mutant changes one place: a comparison to its neighbour and to its opposite, an arithmetic
operator to another, a number by one, ``and`` to ``or``, a condition to its opposite, a result to
None, a statement to nothing. Left out is what no test could notice or need not: docstrings,
annotations, type aliases, messages of errors, decorators, strings, ``zip(strict=True)``, and
constants that are documented as a matter of speed alone.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_SPEED = frozenset({"THREADS", "_CHUNKS", "_BLOCK", "_HULL_FROM"})
"""Constants that decide how fast a result comes, not which."""

Field = tuple[str, int | None]
"""Where a child hangs: the attribute of its parent, and its place if that is a list."""


@dataclass(frozen=True)
class Mutant:
    """One changed place.

    Attributes:
        path: of the source.
        line: where, from 1.
        column: where, from 0.
        kind: what kind of change.
        change: before and after, in words of Python.
        unit: qualified name of the function it is in, "" at the top of the module.
        tree: of that function, or of the top-level statement, changed.
    """

    path: Path
    line: int
    column: int
    kind: str
    change: str
    unit: str
    tree: ast.stmt


def mutants(path: Path) -> list[Mutant]:
    """Return all mutants of a source file, in the order of its lines."""
    module = ast.parse(path.read_text("utf-8"))
    found: list[Mutant] = []
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef):
            found += _of_unit(path, statement.name, statement)
        elif isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                if isinstance(inner, ast.FunctionDef):
                    found += _of_unit(path, f"{statement.name}.{inner.name}", inner)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and not _is_speed(statement):
            found += _of_unit(path, "", statement)
    return found


def _is_speed(statement: ast.Assign | ast.AnnAssign) -> bool:
    """Return whether a top-level assignment is a type's alias or a matter of speed."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = {one.id for one in targets if isinstance(one, ast.Name)}
    alias = isinstance(statement.value, ast.Subscript) and names <= {
        name for name in names if name[:1].isupper() and not name.isupper()
    }
    return alias or bool(names & _SPEED)


def _of_unit(path: Path, unit: str, tree: ast.stmt) -> Iterator[Mutant]:
    """Yield a copy of a function or statement for every change of it."""
    for way in _places(tree):
        node = _at(tree, way)
        for kind, after in _changes(node):
            changed = copy.deepcopy(tree)
            changed = _put(changed, way, copy.deepcopy(after))
            ast.fix_missing_locations(changed)
            before, now = _text(node), _text(after)
            line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
            yield Mutant(path, line, column, kind, f"{before} -> {now}", unit, changed)


def _text(node: ast.AST) -> str:
    """Return the first line of a node's source, not too long for a table."""
    text = ast.unparse(node).splitlines()[0]
    return text if len(text) <= 70 else text[:67] + "..."


def _places(tree: ast.stmt) -> Iterator[tuple[Field, ...]]:
    """Yield the ways from the root to every node that may be changed."""
    pending: list[tuple[tuple[Field, ...], ast.AST]] = [((), tree)]
    while pending:
        way, node = pending.pop(0)
        yield way
        for name, value in ast.iter_fields(node):
            if _is_left_out(node, name):
                continue
            children = value if isinstance(value, list) else [value]
            for place, child in enumerate(children):
                if isinstance(child, ast.AST) and not _says_nothing(child):
                    step = (name, place if isinstance(value, list) else None)
                    pending.append(((*way, step), child))


def _is_left_out(node: ast.AST, name: str) -> bool:
    """Return whether what hangs at a node under a name is no behaviour, or only a message."""
    return name in ("annotation", "returns", "decorator_list", "type_comment") or (
        isinstance(node, ast.Raise) or (isinstance(node, ast.Assert) and name == "msg")
    )


def _says_nothing(node: ast.AST) -> bool:
    """Return whether a node is a docstring, text, a type, or an argument without an effect."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
        return True
    return isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)


def _at(tree: ast.AST, way: tuple[Field, ...]) -> ast.AST:
    """Return the node that a way leads to."""
    for name, place in way:
        value = getattr(tree, name)
        tree = value if place is None else value[place]
    return tree


def _put(tree: ast.stmt, way: tuple[Field, ...], node: ast.AST) -> ast.stmt:
    """Return a tree with another node at the end of a way."""
    if not way:
        assert isinstance(node, ast.stmt)
        return node
    parent = _at(tree, way[:-1])
    name, place = way[-1]
    if place is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[place] = node
    return tree


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what may stand in place of a node, with the kind of the change."""
    if isinstance(node, ast.stmt):
        yield from _of_statement(node)
    elif isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in _COMPARE[type(operator)]:
                ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
                yield "comparison", ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        if not _is_text(node.left) and not _is_text(node.right):
            yield "arithmetic", ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "boolean", ast.BoolOp(other_op, node.values)
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        yield "sign", node.operand
    elif isinstance(node, ast.IfExp):
        yield "condition", ast.IfExp(_not(node.test), node.body, node.orelse)
    elif isinstance(node, ast.Constant):
        yield from _of_constant(node)


def _of_statement(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.If | ast.While):
        changed = copy.copy(node)
        changed.test = _not(node.test)
        yield "condition", changed
    elif isinstance(node, ast.AugAssign):
        if type(node.op) in _ARITHMETIC:
            other = _ARITHMETIC[type(node.op)]()
            yield "arithmetic", ast.AugAssign(node.target, other, node.value)
        yield "removed", ast.Pass()
    elif isinstance(node, ast.Expr | ast.Continue | ast.Break | ast.Raise) or _fills(node):
        yield "removed", ast.Pass()


def _fills(node: ast.stmt) -> bool:
    """Return whether a statement writes into something that is there without it, too."""
    return isinstance(node, ast.Assign) and all(
        isinstance(target, ast.Subscript | ast.Attribute) for target in node.targets
    )


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node.value, int | float):
        yield "constant", ast.Constant(node.value + 1)


def _not(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_text(node: ast.expr) -> bool:
    """Return whether an operand is plainly text or a type."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, int | float)
    return isinstance(node, ast.JoinedStr)
