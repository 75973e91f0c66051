"""What a row's source says, without importing it: its decorator, its arguments, their ranges and defaults."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from components.contract import ranges
from components.contract.ranges import Range
from components.errors import SpecError

_PLAIN: dict[str, Any] = {"float": float, "int": int, "str": str, "bool": bool, "Any": Any}
_NAMED = {name: value for name, value in vars(ranges).items() if get_origin(value) is Annotated}


@dataclass
class Said:
    """The keywords of one decorator: those that are literals, and the names of the others."""

    literals: dict[str, Any] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)


@cache
def parse(path: Path) -> ast.Module:
    """A file, parsed once a process."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def decorations(node: ast.FunctionDef | ast.ClassDef, name: str) -> Iterator[Said]:
    """What the decorators `@name(...)` of a definition say."""
    for decorator in node.decorator_list:
        if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != name:
            continue
        said = Said()
        for keyword in decorator.keywords:
            try:
                said.literals[str(keyword.arg)] = ast.literal_eval(keyword.value)
            except ValueError:
                said.code.append(str(keyword.arg))
        yield said


def signature(
    node: ast.FunctionDef | ast.ClassDef, where: str
) -> tuple[tuple[str, ...], dict[str, tuple[Any, Any, str]]]:
    """Names before `*`, and (annotation, default, doc) of each argument after it. Of a class: its fields."""
    if isinstance(node, ast.ClassDef):
        return (), _fields(node)
    needs = tuple(arg.arg for arg in (*node.args.posonlyargs, *node.args.args))
    knobs = {}
    for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        value = dataclasses.MISSING if default is None else _literal(default, f"{where}({arg.arg})")
        knobs[arg.arg] = (annotation(arg.annotation, f"{where}({arg.arg})"), value, "")
    return needs, knobs


def _fields(node: ast.ClassDef) -> dict[str, tuple[Any, Any, str]]:
    """For people only (the class itself is what builds): annotation and default as they are written."""
    found = {}
    for statement, following in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        is_doc = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        doc = " ".join(str(following.value.value).split()) if is_doc else ""  # type: ignore[attr-defined]
        default: Any = dataclasses.MISSING
        if statement.value is not None:
            try:
                default = ast.literal_eval(statement.value)
            except ValueError:
                default = _in_field(statement.value)
        found[statement.target.id] = (ast.unparse(statement.annotation), default, doc)
    return found


def _in_field(value: ast.expr) -> Any:
    """The default inside `field(default=...)`, or the text of what else stands there."""
    for keyword in value.keywords if isinstance(value, ast.Call) else ():
        if keyword.arg == "default":
            try:
                return ast.literal_eval(keyword.value)
            except ValueError:
                break
    return ast.unparse(value)


def annotation(node: ast.expr | None, where: str) -> Any:
    """The type that is meant: a plain type, a name of `ranges`, Literal[...] or Annotated[type, Range(...)]."""
    match node:
        case ast.Name(id=name) if name in _PLAIN or name in _NAMED:
            return _PLAIN.get(name) or _NAMED[name]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            values = ast.literal_eval(choices)
            return Literal[values if isinstance(values, tuple) else (values,)]
        case ast.Subscript(
            value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, ast.Call(func=ast.Name(id="Range")) as bounds])
        ):
            said = {str(keyword.arg): _literal(keyword.value, where) for keyword in bounds.keywords}
            return Annotated[annotation(kind, where), Range(**said)]
    text = "none" if node is None else ast.unparse(node)
    raise SpecError(
        f"{where}: this annotation of a knob cannot be read (got {text}). "
        f"Use {', '.join([*_PLAIN, *_NAMED])}, Literal[...] or Annotated[float, Range(...)]."
    )


def _literal(node: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise SpecError(f"{where}: must be a literal (got {ast.unparse(node)}). Write the value itself.") from None


def limits(kind: Any) -> str:
    """What a value may be, in words; nothing where there is no bound."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is Annotated:
        return next((str(fact) for fact in get_args(kind)[1:] if isinstance(fact, Range)), "")
    return kind if isinstance(kind, str) else ""
