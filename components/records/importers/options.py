"""What an importer is told about a file that the file itself does not say, and the row it makes of a bad line."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from typing import Any

from components.errors import ParamsError, nearest
from components.records.build import UNKNOWN, text_candidate

RAW_LIMIT = 500


@dataclass(frozen=True)
class Quarantined:
    """A line that is not a record: where, which rule it breaks, and its first 500 characters."""

    file: str
    line: int
    field: str
    rule: str
    reason: str
    raw: str

    def row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Options:
    """Facts about a file that become part of every record made from it."""

    source: str = "{file}"
    """`{file}` becomes the file's path inside the imported folder, without its suffix."""
    license: str = UNKNOWN
    lang: str = UNKNOWN
    annotator: str = UNKNOWN
    """Id where a row names none."""
    annotator_kind: str = "human"
    annotator_revision: str = ""
    instructions_rev: str = ""
    created_at: str = ""
    """Where a row does not say when it was made."""
    run_id: str = ""
    code_rev: str = ""
    data_rev: str = ""
    generator: str = UNKNOWN
    """What wrote the completions."""
    generator_revision: str = UNKNOWN
    ignore_columns: tuple[str, ...] = ()
    """Columns to leave aside, also fields of messages, that would be errors of the row."""

    @classmethod
    def of(cls, given: dict[str, Any]) -> Options:
        """Build from keyword arguments. Raises ParamsError for an unknown one."""
        known = [f.name for f in dataclasses.fields(cls)]
        for name in given:
            if name not in known:
                raise ParamsError(f"import option '{name}': no such option.{nearest(name, known)}")
        return cls(**given)

    def for_file(self, name: str) -> Options:
        """These options with `{file}` filled in."""
        stem = name
        for suffix in (".gz", ".jsonl", ".parquet"):
            stem = stem.removesuffix(suffix)
        return dataclasses.replace(self, source=self.source.replace("{file}", stem))

    def provenance(self, created_at: str = "") -> dict[str, Any]:
        return {
            "source": self.source,
            "license": self.license,
            "created_at": created_at or self.created_at,
            "run_id": self.run_id,
            "code_rev": self.code_rev,
            "data_rev": self.data_rev,
        }

    def person(self, annotator: str = "") -> dict[str, Any]:
        revision = {"revision": self.annotator_revision} if self.annotator_revision else {}
        kind, rev = self.annotator_kind, self.instructions_rev
        return {"id": annotator or self.annotator, "kind": kind, "instructions_rev": rev, **revision}

    def candidate(self, cid: str, text: str) -> dict[str, Any]:
        return text_candidate(cid, text, name=self.generator, revision=self.generator_revision)
