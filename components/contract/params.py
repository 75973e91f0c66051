"""Strict construction of frozen dataclasses from YAML mappings: unknown keys and wrong types are errors."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from components.errors import ParamsError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """One entry of a catalogue with its knobs. In YAML: `{name: dpo, beta: 0.1}`.

    Only the shape is checked here (torch-free); the step binds the knobs to the function's signature.
    """

    name: str
    knobs: dict[str, float | str | bool] = field(default_factory=dict)


def _kind(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _number(where: str, value: Any, target: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        remedy = "Write a number."
        if isinstance(value, str) and _is_float(value):
            remedy = "YAML reads 1e-5 as text: write 1.0e-5."
        raise ParamsError(f"{where}: must be {target.__name__} (got {_kind(value)}). {remedy}")
    if target is int and isinstance(value, float):
        raise ParamsError(f"{where}: must be a whole number (got {value}). Write an integer.")
    if not math.isfinite(value):
        raise ParamsError(f"{where}: must be a finite number (got {value}). Write one.")
    return target(value)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _choice(where: str, value: Any) -> Choice:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ParamsError(f"{where}: must be {{name: ..., knob: value}} (got {_kind(value)}). Give at least a name.")
    knobs = {key: knob for key, knob in value.items() if key != "name"}
    for key, knob in knobs.items():
        if not isinstance(knob, (int, float, str, bool)):
            raise ParamsError(f"{where}.{key}: a knob is a number, text or true/false (got {_kind(knob)}). Fix it.")
        if isinstance(knob, str) and _is_float(knob):
            raise ParamsError(f"{where}.{key}: text that looks like a number (got '{knob}'). Write 1.0e-5, not 1e-5.")
        if isinstance(knob, float) and not math.isfinite(knob):
            raise ParamsError(f"{where}.{key}: must be a finite number (got {knob}). Write one.")
    return Choice(value["name"], knobs)


def _coerce(where: str, annotation: Any, value: Any) -> Any:  # one branch per kind of annotation, nothing else
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _coerce(where, next(arg for arg in args if arg is not type(None)), value)
    if origin is Literal:
        if not any(value == arg and type(value) is type(arg) for arg in args):
            hint = nearest(value, map(str, args)) if isinstance(value, str) else f" Known: {', '.join(map(str, args))}."
            raise ParamsError(f"{where}: not one of the choices (got {_kind(value)}).{hint}")
        return value
    if annotation is Choice:
        return _choice(where, value)
    if dataclasses.is_dataclass(annotation):
        return build(typing.cast(type, annotation), value, where)
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise ParamsError(f"{where}: must be a list (got {_kind(value)}). Write [a, b].")
        if origin is tuple and args[-1] is not Ellipsis and len(value) != len(args):
            raise ParamsError(f"{where}: must have {len(args)} items (got {len(value)}). Write that many.")
        return tuple(_coerce(f"{where}[{i}]", args[0], item) for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ParamsError(f"{where}: must be a mapping (got {_kind(value)}). Write {{key: value}}.")
        return {_coerce(where, args[0], k): _coerce(f"{where}.{k}", args[1], v) for k, v in value.items()}
    if annotation in (int, float):
        return _number(where, value, annotation)
    if not isinstance(value, annotation):
        remedy = (
            "Quote it." if annotation is str else "Write true or false." if annotation is bool else "Fix the value."
        )
        raise ParamsError(f"{where}: must be {annotation.__name__} (got {_kind(value)}). {remedy}")
    return value


def build(cls: type[T], mapping: Any, where: str) -> T:
    """Build a frozen dataclass from a mapping; absent keys take their defaults. Raises ParamsError.

    A `check(self) -> None` method on the dataclass may raise ParamsError for rules over several fields.
    """
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, dict):
        raise ParamsError(f"{where}: must be a mapping of parameters (got {_kind(mapping)}). Write key: value lines.")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise ParamsError(f"{where}: unknown key '{key}'.{nearest(str(key), fields)}")
    values = {name: _coerce(f"{where}.{name}", hints[name], mapping[name]) for name in fields if name in mapping}
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if name not in values and required:
            raise ParamsError(f"{where}.{name}: is required. Set it in params.yaml.")
    built = cls(**values)
    check = getattr(built, "check", None)
    if check is not None:
        try:
            check()
        except ParamsError as error:
            raise ParamsError(f"{where}.{error}") from None
    return built


def dump(params: Any) -> Any:
    """The plain (YAML/JSON) form of built parameters, every field included; `build` reads it back."""
    if isinstance(params, Choice):
        return {"name": params.name, **params.knobs}
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return {f.name: dump(getattr(params, f.name)) for f in dataclasses.fields(params)}
    if isinstance(params, (list, tuple)):
        return [dump(item) for item in params]
    if isinstance(params, dict):
        return {key: dump(value) for key, value in params.items()}
    return params


def as_yaml(value: Any) -> str:
    """One line of YAML for a plain value, as a person would write it in params.yaml (1.0e-05, true, [a, b])."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()


def missing_keys(cls: type, mapping: Any, where: str) -> list[str]:
    """Fields that stand in the dataclass but not in the mapping (DVC cannot see a changed default it is not shown)."""
    hints = typing.get_type_hints(cls)
    missing = []
    for f in dataclasses.fields(cls):
        if f.name not in (mapping or {}):
            missing.append(f"{where}.{f.name}")
        elif dataclasses.is_dataclass(hints[f.name]) and hints[f.name] is not Choice:
            missing += missing_keys(hints[f.name], mapping[f.name], f"{where}.{f.name}")
    return missing


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


class _Strict(yaml.SafeLoader):
    """Safe YAML in which a key may stand once: plain YAML keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", node.start_mark)
        return dict(super().construct_mapping(node, deep))


def read_params_file(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping. Raises ParamsError."""
    if not path.is_file():
        raise ParamsError(f"{path}: no such file. Run from the project folder, or pass the path of params.yaml.")
    try:
        raw = _Strict(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML ({error}). Fix the syntax.") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path}: must be a mapping (got {type(raw).__name__}). Write step: {{key: value}}.")
    return raw


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`a.b=c` -> (["a", "b"], c), the value read as YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ParamsError(f"--set {text}: must be KEY=VALUE. For example --set policy_optimization.seed=1.")
    try:
        return key.strip().split("."), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ParamsError(f"--set {text}: the value is not valid YAML ({error}). Quote it.") from error


CHOICE = "objective"  # the field name of every Choice, so that merging needs no classes (tests/house watches it)


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`overlay` over `base`, mapping by mapping. A Choice with another `name` replaces the old one with its knobs."""
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        another = key == CHOICE and isinstance(value, dict) and isinstance(old, dict) and "name" in value
        if another and value["name"] != old["name"]:  # type: ignore[index]
            merged[key] = value
        elif isinstance(old, dict) and isinstance(value, dict):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def override(base: dict[str, Any], text: str) -> dict[str, Any]:
    """`base` with one `a.b=c` over it. A wrong key is named when the parameters are built."""
    keys, value = parse_assignment(text)
    for key in reversed(keys):
        value = {key: value}
    return merge(base, value)
