"""The ids of the method specification: what each is called, whose it is, and where it lives here.

`specification.csv` holds ids, names and papers; where a method lives is read from the tables and from the code, so that
docs/methods.md cannot claim what is not there.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from components.contract.table import Row, Table
from components.errors import SpecError

FAMILIES = {
    "FMT": "Formats of feedback",
    "CONV": "Conversions between formats",
    "SRC": "Sources of feedback",
    "PC": "Prompt contracts",
    "AGG": "Aggregation of votes",
    "AGR": "Agreement of annotators",
    "RM": "Preference models",
    "VAL": "Values and principles",
    "PO": "Policy optimization",
    "EVAL": "Evaluation",
}
"""The sections of the specification by the letters of their ids, in the order of a pass."""

ID = re.compile(rf"\b(?:{'|'.join(FAMILIES)})-\d{{2,3}}\b")

NOTE = """\
Every method of the specification that this project follows, by id. `built`: a row of a table, to be chosen by name.
`experimental`: a row whose formula was not checked against a reference. `in code`: no row, but this code carries it
out, or a part of it. Where is read from rows (`method=`), from comments, and from how docstrings begin."""


@dataclass(frozen=True)
class Method:
    """One id: name in a few words, paper in short (or nothing, where it is common knowledge)."""

    id: str
    name: str
    paper: str

    @property
    def family(self) -> str:
        return self.id.partition("-")[0]


@cache
def specification() -> Mapping[str, Method]:
    """Every method by id, in the order of the file. Raises SpecError for an id that is malformed or stands twice."""
    found: dict[str, Method] = {}
    text = (Path(__file__).parent / "specification.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(io.StringIO(text)):
        method = Method(row["id"], row["name"], row["paper"])
        if not ID.fullmatch(method.id) or method.id in found:
            raise SpecError(f"specification.csv: an id must be like RM-05 and stand once (got {method.id}). Mend it.")
        found[method.id] = method
    return found


def carried_out(root: Path) -> dict[str, list[str]]:
    """Id -> files under `root` that name it in a comment, or in the first paragraph of a public docstring."""
    places: dict[str, set[str]] = defaultdict(set)
    for top in ("components", "flows"):
        for path in sorted((root / top).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            if ID.search(source):
                for text in (*_first_paragraphs(source), *_comments(source)):
                    for name in ID.findall(text):
                        places[name].add(path.relative_to(root).as_posix())
    return {name: sorted(files) for name, files in places.items()}


def _first_paragraphs(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and not getattr(node, "name", "").startswith(
            "_"
        ):
            yield (ast.get_docstring(node) or "").partition("\n\n")[0]


def _comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def rows_by_method(tables: Mapping[str, Table]) -> dict[str, list[tuple[str, Row]]]:
    """Id -> (table, row) of every row that says it."""
    found: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for name, table in tables.items():
        for row in table:
            for method in row.method:
                found[method].append((name, row))
    return dict(found)


def page(tables: Mapping[str, Table], root: Path) -> list[str]:
    """docs/methods.md, line by line, without its first note."""
    rows, code = rows_by_method(tables), carried_out(root)
    lines = ["# Methods", "", *NOTE.splitlines(), ""]
    count = sum(name in rows or name in code for name in specification())
    lines.append(f"{count} of {len(specification())} have something here.")
    for family, title in FAMILIES.items():
        lines += ["", f"## {title}", "", "| id | method | paper | status | where |", "|---|---|---|---|---|"]
        for method in specification().values():
            if method.family == family:
                mine, places = rows.get(method.id, []), code.get(method.id, [])
                cells = (method.id, method.name, method.paper, _status(mine, places), _where(mine, places))
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def _status(rows: Sequence[tuple[str, Row]], places: Sequence[str]) -> str:
    if rows:
        return "built" if any(not row.status for _, row in rows) else "experimental"
    return "in code" if places else "not built yet"


def _where(rows: Sequence[tuple[str, Row]], places: Sequence[str]) -> str:
    known = {row.module.replace(".", "/") + ".py" for _, row in rows}
    found = [f"[`{row.name}`]({table}.md#{row.name})" for table, row in rows]
    return ", ".join([*found, *(f"[{path}](../{path})" for path in places if path not in known)])
