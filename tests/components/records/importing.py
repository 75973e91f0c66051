"""A file, or a folder's usable files in sorted order, imported in one go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.contract.params import Choice
from components.records import Record
from components.records.importers import AUTO, About, Limits, Options, Quarantined, import_one, shown, usable_files


def import_file(path: Path | str, format: Choice = AUTO, **options: Any) -> Iterator[Record | Quarantined]:
    """`options`: the fields of `Options`, and `pattern`, a glob for the files of a folder."""
    root, pattern = Path(path), options.pop("pattern", "**/*")
    facts = Options.of(options)
    for file in usable_files(root, pattern).files:
        name = shown(file, root) if root.is_dir() else file.name
        yield from import_one(file, name, format, facts.for_file(name), Limits(), About())
