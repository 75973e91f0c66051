"""Strict construction of frozen dataclasses from YAML mappings: unknown keys and wrong types are errors."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, runtime_checkable

import yaml

from components.contract.ranges import Range
from components.contract.yaml_text import parse_yaml
from components.errors import ParamsError, nearest

T = TypeVar("T")

EXECUTION: Mapping[str, Any] = types.MappingProxyType({"execution": True})
"""`field(default=5, metadata=EXECUTION)`: how a step is carried out, not what it makes. Such a field can change no bit
of an output; it is no part of the identity, is not written into params.yaml, and may change while a step resumes."""


@dataclass(frozen=True)
class Choice:
    """A chosen row of a table with all its knobs. In YAML: `{name: dpo, revision: 1, beta: 0.1}`.

    Left out knobs take the row's defaults and are then there; `revision` is the row's and may be left out (0 here,
    until it is built).
    """

    name: str
    knobs: dict[str, Any] = field(default_factory=dict)
    revision: int = 0


@runtime_checkable
class Chooser(Protocol):
    """What stands in `Annotated[Choice, CHOOSER]`: a table, or some rows of one (see `table`)."""

    def choose(self, where: str, value: Any) -> Any:
        """The value that `{name: ROW, knob: ...}` describes: a Choice, or an instance of the row's class."""
        ...


def _kind(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


# a number to everybody but YAML 1.1, which wants it written 1.0e-5
_SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def _number(where: str, value: Any, target: type) -> Any:
    if target is float and isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        remedy = "Remove the quotes." if isinstance(value, str) and _is_float(value) else "Write a number."
        raise ParamsError(f"{where}: must be {target.__name__} (got {_kind(value)}). {remedy}")
    if target is int and isinstance(value, float):
        raise ParamsError(f"{where}: must be a whole number (got {value}). Write an integer.")
    if not _finite(value):
        raise ParamsError(f"{where}: must be a finite number (got {value}). Write one.")
    return target(value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every double
        return False


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _annotated(where: str, annotation: Any, value: Any) -> Any:
    base, *facts = get_args(annotation)
    for fact in facts:
        if isinstance(fact, Chooser):
            return fact.choose(where, value)
    built = coerce(where, base, value)
    for fact in facts:
        if isinstance(fact, Range) and built not in fact:
            raise ParamsError(f"{where}: must be {fact} (got {built}). Choose such a number.")
    return built


def _one_of(where: str, arms: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in arms:
        return None
    return coerce(where, next(arm for arm in arms if arm is not type(None)), value)


def coerce(where: str, annotation: Any, value: Any) -> Any:  # one branch per kind of annotation, nothing else
    """A plain value as what `annotation` asks for. Raises ParamsError."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return value
    if origin is Annotated:
        return _annotated(where, annotation, value)
    if origin in (Union, types.UnionType):
        return _one_of(where, args, value)
    if origin is Literal:
        if not any(value == arg and type(value) is type(arg) for arg in args):
            hint = nearest(value, map(str, args)) if isinstance(value, str) else f" Known: {', '.join(map(str, args))}."
            raise ParamsError(f"{where}: not one of the choices (got {_kind(value)}).{hint}")
        return value
    if dataclasses.is_dataclass(annotation):
        return build(typing.cast(type, annotation), value, where)
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise ParamsError(f"{where}: must be a list (got {_kind(value)}). Write [a, b].")
        if origin is tuple and args[-1] is not Ellipsis and len(value) != len(args):
            raise ParamsError(f"{where}: must have {len(args)} items (got {len(value)}). Write that many.")
        return tuple(coerce(f"{where}[{i}]", args[0], item) for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ParamsError(f"{where}: must be a mapping (got {_kind(value)}). Write {{key: value}}.")
        return {coerce(where, args[0], k): coerce(f"{where}.{k}", args[1], v) for k, v in value.items()}
    if annotation in (int, float):
        return _number(where, value, annotation)
    if not isinstance(value, annotation):
        remedy = (
            "Quote it." if annotation is str else "Write true or false." if annotation is bool else "Fix the value."
        )
        raise ParamsError(f"{where}: must be {annotation.__name__} (got {_kind(value)}). {remedy}")
    return value


def hints(cls: type) -> dict[str, Any]:
    """The annotation of every field, ranges and tables included."""
    return typing.get_type_hints(cls, include_extras=True)


def nested(annotation: Any) -> type | None:
    """The parameter class that a field holds; None for any other field, a choice included."""
    return annotation if dataclasses.is_dataclass(annotation) else None  # type: ignore[return-value]


def default_of(f: dataclasses.Field[Any]) -> Any:
    """The plain form of a field's default, MISSING if it has none."""
    if f.default is not dataclasses.MISSING:
        return dump(f.default)
    return dataclasses.MISSING if f.default_factory is dataclasses.MISSING else dump(f.default_factory())


def build(cls: type[T], mapping: Any, where: str) -> T:
    """Build a frozen dataclass from a mapping; absent keys take their defaults. Raises ParamsError.

    A nested class that is given in part keeps the outer default's other fields. A `check(self) -> None` method on the
    dataclass may raise ParamsError for rules over several fields.
    """
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, dict):
        raise ParamsError(f"{where}: must be a mapping of parameters (got {_kind(mapping)}). Write key: value lines.")
    kinds = hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise ParamsError(f"{where}: unknown key '{key}'.{nearest(str(key), fields)}")
    values = {}
    for name, f in fields.items():
        default = default_of(f)
        if name not in mapping and default is dataclasses.MISSING:
            raise ParamsError(f"{where}.{name}: is required. Set it in params.yaml.")
        value = mapping.get(name, default)
        inner = nested(kinds[name])
        if inner and isinstance(default, dict) and (value is None or isinstance(value, dict)):
            value = merge(inner, default, value or {})
        values[name] = coerce(f"{where}.{name}", kinds[name], value)
    built = cls(**values)
    check = getattr(built, "check", None)
    if check is not None:
        try:
            check()
        except ParamsError as error:
            raise ParamsError(f"{where}.{error}") from None
    return built


def dump(params: Any, *, execution: bool = True) -> Any:
    """The plain (YAML/JSON) form of built parameters, every field included; `build` reads it back.

    Without `execution` it is what the identity of a step holds: fields that are marked EXECUTION are left out.
    """
    if isinstance(params, Choice):
        return {"name": params.name, **({"revision": params.revision} if params.revision else {}), **params.knobs}
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        row = getattr(params, "ROW", None)
        plain = {
            f.name: dump(getattr(params, f.name), execution=execution)
            for f in dataclasses.fields(params)
            if execution or not f.metadata.get("execution")
        }
        return plain if row is None else {"name": row.name, "revision": row.revision, **plain}
    if isinstance(params, (list, tuple)):
        return [dump(item, execution=execution) for item in params]
    if isinstance(params, dict):
        return {key: dump(value, execution=execution) for key, value in params.items()}
    return params


def as_yaml(value: Any) -> str:
    """One line of YAML for a plain value, as a person would write it in params.yaml (1.0e-05, true, [a, b])."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()


def missing_keys(complete: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    """Keys of `complete` that do not stand in `given` (DVC cannot see a changed default it is not shown)."""
    for key, value in complete.items():
        if not isinstance(given, dict) or key not in given:
            yield f"{where}.{key}"
        elif isinstance(value, dict):
            yield from missing_keys(value, given[key], f"{where}.{key}")


def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        is_doc = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_doc:
            docs[node.target.id] = " ".join(str(following.value.value).split())  # type: ignore[attr-defined]
    return docs


def read_params_file(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping. Raises ParamsError."""
    if not path.is_file():
        raise ParamsError(f"{path}: no such file. Run from the project folder, or pass the path of params.yaml.")
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ParamsError(f"{path}: not valid YAML ({error}). Fix the syntax.") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path}: must be a mapping (got {type(raw).__name__}). Write step: {{key: value}}.")
    for key in raw:
        if not isinstance(key, str):
            raise ParamsError(f"{path}: a key must be text (got {_kind(key)}). Quote it.")
    return raw


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`a.b=c` -> (["a", "b"], c), the value read as YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ParamsError(f"--set {text}: must be KEY=VALUE. For example --set policy_optimization.seed=1.")
    try:
        return key.strip().split("."), parse_yaml(value)
    except ValueError as error:
        raise ParamsError(f"--set {text}: the value is not valid YAML ({error}). Quote it.") from error


def merge(cls: type | None, base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`overlay` over `base`, plain parameters of `cls`, mapping by mapping.

    Where a field is a choice and `overlay` names another row, the old row goes with its knobs.
    """
    kinds = hints(cls) if cls is not None else {}
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        if not (isinstance(old, dict) and isinstance(value, dict)) or (
            _chosen(kinds.get(key)) and value.get("name", old.get("name")) != old.get("name")
        ):
            merged[key] = value
        else:
            merged[key] = merge(nested(kinds.get(key)), old, value)
    return merged


def _chosen(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated and any(isinstance(fact, Chooser) for fact in get_args(annotation)[1:])


def override(cls: type, base: dict[str, Any], text: str) -> dict[str, Any]:
    """`base`, the parameters of `cls`, with one `a.b=c` over it. A wrong key is named when they are built."""
    return merge(cls, base, assignment(*parse_assignment(text)))


def assignment(keys: list[str], value: Any) -> Any:
    """(["a", "b"], c) -> {a: {b: c}}."""
    for key in reversed(keys):
        value = {key: value}
    return value
