"""Tables: whatever a parameter chooses by name is a row of one, and a row is a function or a class.

    OBJECTIVES = Table("objectives", "objective", "components.objectives", "How feedback becomes a loss.")

    @OBJECTIVES.row(method="PO-01", source="Rafailov et al. 2023, eq. 7", family="pair")
    def dpo(chosen_logps: Tensor, rejected_logps: Tensor, *, beta: Positive = 0.1) -> Tensor:
        "-log sigmoid(beta h): logistic regression of the preference on the implicit reward difference."

The arguments before `*` are what the row needs, those after it are its knobs, with their ranges and defaults; the
first line of the docstring is its summary. A class is a row whose fields are the knobs (its module needs no torch).
Rows are read from the source, without importing it, so that parameters can be checked where torch is not; `load`
imports.

A parameter is annotated `Annotated[Choice, OBJECTIVES]` (or `OBJECTIVES.only(family=("pair",))`) and holds the chosen
row, complete: `{name: dpo, revision: 1, beta: 0.1}`. What a row does is part of a step's identity by its `revision`:
raise it when the same knobs mean something else.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from components.contract import sources
from components.contract.params import Choice, build, coerce
from components.errors import ParamsError, SpecError, nearest

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

COMMON = ("name", "revision", "method", "source", "status", "fixed")


@dataclass(frozen=True)
class Knob:
    """What a person may set: its annotation (a type, a Literal, or Annotated with a Range), default and meaning."""

    annotation: Any
    default: Any
    doc: str = ""

    @property
    def limits(self) -> str:
        """`> 0`, `one of a, b`, or nothing."""
        return sources.limits(self.annotation)


@dataclass(frozen=True)
class Row:
    """One row as its source says it.

    `method`: ids of the method specification (docs/methods.md); `source`: paper and equation; `status`: "" or
    "experimental"; `needs`: arguments before `*`; `facts`: what else the decorator says in literals; `fixed`: knobs
    that this row sets itself; `code`: names of what it says in code, for `extra`.
    """

    name: str
    summary: str
    doc: str
    module: str
    attribute: str
    is_class: bool
    revision: int = 1
    method: tuple[str, ...] = ()
    source: str = ""
    status: str = ""
    needs: tuple[str, ...] = ()
    knobs: Mapping[str, Knob] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    code: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """`name@revision`."""
        return f"{self.name}@{self.revision}"

    def load(self) -> Any:
        """The function (with `fixed` knobs set) or the class. Imports its module."""
        found = getattr(importlib.import_module(self.module), self.attribute)
        return functools.partial(found, **self.fixed) if self.fixed else found

    def extra(self, name: str, default: Any = None) -> Any:
        """What the decorator says under this name, in code or in literals. Imports the row's module."""
        found = getattr(importlib.import_module(self.module), self.attribute)
        return found.__rows__[self.name].get(name, default)


@dataclass(frozen=True)
class Table:
    """`name` ("objectives"; rows are under `@OBJECTIVES.row`), what one row is called, the package or module whose
    files hold the rows, what they are for, and the facts that every row must state."""

    name: str
    noun: str
    package: str
    what: str
    facts: tuple[str, ...] = ()
    appendix: str = ""
    """module:function that gives further lines of the table's page"""

    def row(self, **facts: Any) -> Callable[[Decorated], Decorated]:
        """Decorator: this function or class is a row (named like it, or `name=`). A function may be several rows."""

        def mark(thing: Decorated) -> Decorated:
            name = facts.get("name", getattr(thing, "__name__", ""))
            rows = {**getattr(thing, "__rows__", {}), name: facts}
            thing.__rows__ = rows  # type: ignore[attr-defined]
            if isinstance(thing, type):
                thing.ROW = _Ref(name, facts.get("revision", 1))  # type: ignore[attr-defined]
            return thing

        return mark

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Every row by name, in the order of files and lines. Raises SpecError for a row that cannot be read."""
        found: dict[str, Row] = {}
        for module, path in modules(self.package):
            for row in self._read(module, path):
                if row.name in found:
                    raise SpecError(f"{module}: {self.noun} '{row.name}' stands twice. Give one another name.")
                found[row.name] = row
        return found

    def _read(self, module: str, path: Path) -> Iterator[Row]:
        for node in sources.parse(path).body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            for said in sources.decorations(node, f"{self.name.upper()}.row"):
                yield self._row(module, node, said)

    def _row(self, module: str, node: ast.FunctionDef | ast.ClassDef, said: sources.Said) -> Row:
        literals, where = said.literals, f"{module}.{node.name}"
        fixed = dict(literals.get("fixed", {}))
        needs, knobs = sources.signature(node, where)
        name, doc = str(literals.get("name", node.name)), ast.get_docstring(node) or ""
        lacking = [fact for fact in self.facts if fact not in literals and fact not in said.code]
        if lacking or not doc:
            raise SpecError(
                f"{where}: {self.noun} '{name}' does not say its {', '.join(lacking) or 'summary'}. Say it."
            )
        method = literals.get("method", ())
        return Row(
            name=name,
            summary=str(literals.get("summary", doc.splitlines()[0])),
            doc=doc,
            module=module,
            attribute=node.name,
            is_class=isinstance(node, ast.ClassDef),
            revision=int(literals.get("revision", 1)),
            method=(method,) if isinstance(method, str) else tuple(method),
            source=str(literals.get("source", "")),
            status=str(literals.get("status", "")),
            needs=needs,
            knobs={key: Knob(*knob) for key, knob in knobs.items() if key not in fixed},
            fixed=fixed,
            facts={key: value for key, value in literals.items() if key not in COMMON},
            code=tuple(said.code),
        )

    def __getitem__(self, name: str) -> Row:
        """A row by name. Raises ParamsError with the nearest name."""
        return Selection(self, {}).pick(self.noun, name)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def only(self, **facts: tuple[Any, ...]) -> Selection:
        """The rows whose facts are among these: what one step can take."""
        return Selection(self, facts)

    def choose(self, where: str, value: Any) -> Any:
        """See `Chooser`."""
        return Selection(self, {}).choose(where, value)

    def bind(self, choice: Choice) -> Callable[..., Any]:
        """The function of a chosen row with its knobs set. Imports its module."""
        return functools.partial(self[choice.name].load(), **choice.knobs)

    def __hash__(self) -> int:
        return hash((self.name, self.package))


@dataclass(frozen=True)
class _Ref:
    """What an instance of a row's class says it is, when it is written down."""

    name: str
    revision: int


@dataclass(frozen=True)
class Selection:
    """Some rows of a table."""

    table: Table
    facts: Mapping[str, tuple[Any, ...]]

    def names(self) -> list[str]:
        return [row.name for row in self.table if all(row.facts.get(key) in of for key, of in self.facts.items())]

    def pick(self, where: str, name: str) -> Row:
        """A row by name. Raises ParamsError for a name that is unknown or not among these, with the nearest."""
        known = self.names()
        if name not in known:
            why = "does not fit this step" if name in self.table.rows else f"no such {self.table.noun}"
            raise ParamsError(f"{where}.name: {why} (got '{name}').{nearest(str(name), known)}")
        return self.table.rows[name]

    def choose(self, where: str, value: Any) -> Any:
        """See `Chooser`: names, knobs and ranges are checked, what is left out is filled. Raises ParamsError."""
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise ParamsError(f"{where}: must be {{name: ROW, knob: value}} (got {value!r}). Give at least a name.")
        row = self.pick(where, value["name"])
        if value.get("revision", row.revision) != row.revision:
            raise ParamsError(
                f"{where}.revision: {row.name} is at revision {row.revision} here (got {value['revision']}). Write "
                f"{row.revision}, which means other results than before, or use the version of preflow that made it."
            )
        given = {key: knob for key, knob in value.items() if key not in ("name", "revision")}
        if row.is_class:
            return build(row.load(), given, where)
        return Choice(row.name, _knobs(row, given, where), row.revision)


def _knobs(row: Row, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in given:
        if key not in row.knobs:
            raise ParamsError(f"{where}.{key}: {row.name} has no such knob.{nearest(str(key), row.knobs)}")
    filled = {}
    for key, knob in row.knobs.items():
        value = given.get(key, knob.default)
        if value is dataclasses.MISSING:
            raise ParamsError(f"{where}.{key}: {row.name} needs it. Set it.")
        filled[key] = coerce(f"{where}.{key}", knob.annotation, value)
    return filled


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """The modules of a package (itself and folders in it included), or one module, with their files, by name."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SpecError(f"{package}: no such package. Correct the table.")
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        yield package, origin
        return
    for path in sorted(origin.parent.rglob("*.py")):
        parts = path.relative_to(origin.parent).with_suffix("").parts
        yield ".".join([package, *parts]).removesuffix(".__init__"), path
