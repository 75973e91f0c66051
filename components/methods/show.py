"""`python -m components methods`: what a parameter can choose by name."""

from __future__ import annotations

import dataclasses
import json

from components.contract.params import as_yaml
from components.contract.table import Row, Table
from components.errors import ParamsError, nearest
from components.methods.pages import listing, terminal
from components.methods.tables import TABLES


def show(table: str | None, name: str | None, *, as_json: bool = False) -> str:
    """All tables, one of them, or one row, as text or JSON. Raises ParamsError for an unknown name."""
    if table is not None and table not in TABLES:
        raise ParamsError(f"methods {table}: no such table.{nearest(table, TABLES)}")
    chosen = list(TABLES.values()) if table is None else [TABLES[table]]
    row = TABLES[table][name] if table is not None and name is not None else None
    if as_json:
        rows = [item for each in chosen for item in listing(each) if row is None or item["name"] == row.name]
        return json.dumps(rows, indent=1, ensure_ascii=False)
    if row is not None:
        return "\n".join(_one(row))
    return "\n\n".join("\n".join(_table(each)) for each in chosen)


def _table(table: Table) -> list[str]:
    return [f"{table.name} ({len(table.rows)}): {table.what}", *terminal(table)]


def _one(row: Row) -> list[str]:
    lines = [f"{row.ref}  {row.summary}"]
    facts = {"method": ", ".join(row.method), "source": row.source, "status": row.status, **row.facts}
    lines += [f"{key}: {value}" for key, value in facts.items() if value and key != "summary"]
    lines.append(f"where: {row.module}.{row.attribute}")
    if row.needs:
        lines.append(f"needs: {', '.join(row.needs)}")
    for key, knob in row.knobs.items():
        default = "required" if knob.default is dataclasses.MISSING else as_yaml(knob.default)
        lines.append(f"  {key} = {default}  {knob.limits} {knob.doc}".rstrip())
    return lines
