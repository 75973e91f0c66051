"""Parameters of human_feedback."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from components.contract.params import Choice
from components.errors import ParamsError
from components.records.importers.folder import check_pattern
from components.records.importers.limits import Limits
from components.records.importers.table import IMPORTERS
from components.records.schema import is_moment


@dataclass(frozen=True)
class Annotator:
    """Who judged, where the file does not say it itself."""

    id: str = "unknown"
    """pseudonym of the annotator; never a name or an address"""
    kind: Literal["human", "llm", "reward_model", "heuristic", "environment", "in_situ_user", "simulated"] = "human"
    """what the annotator is"""
    revision: str = ""
    """version of a non-human annotator (required for one, unless the file says it)"""


@dataclass(frozen=True)
class Generator:
    """What wrote the completions, where the file does not say it itself."""

    name: str = "unknown"
    """model name"""
    revision: str = "unknown"
    """model revision"""


@dataclass(frozen=True)
class Params:
    format: Annotated[Choice, IMPORTERS] = field(default_factory=lambda: Choice("auto"))
    """native format of the files, an importer (docs/importers.md); auto tells it by their columns, file by file"""
    files: str = "**/*"
    """glob for the files of a folder; they are read in sorted order"""
    source: str = "{file}"
    """name of the source in every record; {file} becomes the file's path without suffix"""
    license: str = "unknown"
    """licence of the data (an SPDX name where there is one)"""
    lang: str = "unknown"
    """language of the texts (BCP 47)"""
    annotator: Annotator = field(default_factory=Annotator)
    """who judged"""
    generator: Generator = field(default_factory=Generator)
    """what wrote the completions"""
    instructions_rev: str = ""
    """revision of the instructions the annotators followed"""
    created_at: str = ""
    """when the feedback was given (ISO 8601), where the file does not say it"""
    ignore_columns: tuple[str, ...] = ()
    """columns to leave aside although their name says that they mean something; fields of messages, too"""
    bad_files: Literal["set_aside", "refuse"] = "set_aside"
    """a file of a folder that cannot be read: the others are imported and it is listed, or nothing is imported"""
    limits: Limits = field(default_factory=Limits)
    """how large a file may be; more is refused, never cut"""
    limit: int = 0
    """keep at most this many records (0: all): whole prompts in a seeded random order, written in file order"""
    seed: int = 0
    """seed of that order"""
    max_quarantine_share: float = 0.05
    """fail if a larger share of the lines is quarantined; a folder's files above it are set aside first (bad_files)"""

    def check(self) -> None:
        check_pattern(self.files)
        if self.limit < 0:
            raise ParamsError(f"limit: must be >= 0 (got {self.limit}). Use 0 for all records.")
        if not 0.0 <= self.max_quarantine_share <= 1.0:
            got = self.max_quarantine_share
            raise ParamsError(f"max_quarantine_share: must be in 0..1 (got {got}). Give a share.")
        for name in ("source", "license", "lang"):
            if not getattr(self, name).strip():
                raise ParamsError(f"{name}: must not be blank (got ''). Write it, or 'unknown'.")
        if self.created_at and not is_moment(self.created_at):
            raise ParamsError(f"created_at: must be ISO 8601 (got '{self.created_at}'). For example 2025-03-01.")
