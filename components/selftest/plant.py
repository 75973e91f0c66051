"""Plant a fault into a small clean project, run the steps before training, and look at what they say of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import content_id
from components.contract import run_component
from components.contract.table import Row
from components.errors import PreflowError, UserError
from components.selftest.data import as_text, clean_rows
from components.selftest.table import SILENT_BUGS

SMALL = {"vocab_size": 300, "hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "context": 512}
FEEDBACK = {"source": "selftest", "license": "CC0-1.0", "max_quarantine_share": 0.5}
CURATION = {"max_bad_share": 0.5, "tokens": {"max_length": 512}}


@dataclass(frozen=True)
class Said:
    """What one step said: names of rules, flags and counts, or the message of its refusal."""

    stage: str
    what: str


@dataclass(frozen=True)
class Outcome:
    """What became of a planted fault: `by` is empty if nothing named it where it must be named."""

    fault: Row
    by: str

    @property
    def status(self) -> str:
        """`named`; `missed`: nothing named it where it must be; `gap`: nothing is expected to name it yet."""
        if not self.fault.facts["rule"]:
            return "gap"
        return "named" if self.by else "missed"


class Project:
    """A clean feedback file and a clean policy in `folder`, and what the steps say of them without a fault."""

    def __init__(self, folder: Path) -> None:
        """Make both in an empty folder. Raises UserError if something is found in them."""
        self.folder = folder
        raw = folder / "clean.jsonl"
        raw.write_text(as_text(clean_rows()), encoding="utf-8")
        run_component("human_feedback", FEEDBACK, {"raw": [raw]}, {"feedback": folder / "feedback"})
        settings = {"source": "tiny", "tiny": SMALL, "optimization": {"epochs": 0.1}, "compute": {"threads": 1}}
        run_component("base_model", settings, {"text": [folder / "feedback"]}, {"policy": folder / "policy"})
        ordinary = {"generator_unknown", "order_not_recorded"}  # what the file does not say, and is said to lack
        self.control = frozenset([*self.of_data(raw, "control"), *self.of_model(folder / "policy", "control_model")])
        if alarms := [said for said in self.control if said.what not in ordinary]:
            raise UserError(f"selftest: the clean project is not clean (got {alarms[0]}). Report this as a bug.")

    def plant(self, fault: Row) -> Outcome:
        """Plant one fault and run the steps. Raises whatever is no PreflowError: a traceback names nothing."""
        make, place = fault.load(), self.folder / f"planted-{len(list(self.folder.iterdir()))}"
        if fault.needs == ("rows",):
            made = make(clean_rows())
            place.mkdir()
            raw = place / "raw.jsonl"
            raw.write_bytes(made if isinstance(made, bytes) else made.encode())
            said = self.of_data(raw, f"{place.name}-out")
        else:
            source = shutil.copytree(self.folder / "policy", place)
            make(source)
            said = self.of_model(source, f"{place.name}-out")
        stage, rule = fault.facts["stage"], fault.facts["rule"]
        new = [one for one in said if one not in self.control]
        found = [one.what for one in new if rule and one.stage == stage and rule in one.what]
        return Outcome(fault, found[0] if found else "")

    def of_data(self, raw: Path, name: str) -> list[Said]:
        """Import and curate a file; what both say."""
        out = self.folder / name
        try:
            run_component("human_feedback", FEEDBACK, {"raw": [raw]}, {"feedback": out / "feedback"})
        except PreflowError as error:
            return [Said("human_feedback", str(error))]
        return [*_of_import(out / "feedback"), *self._curate(out / "feedback", self.folder / "policy", out / "dataset")]

    def of_model(self, source: Path, name: str) -> list[Said]:
        """Bring a model in and curate the clean feedback for it; what both say."""
        out = self.folder / name
        settings = {"source": str(source), "revision": content_id(source), "compute": {"threads": 1}}
        try:
            run_component("base_model", settings, {}, {"policy": out / "policy"})
        except PreflowError as error:
            return [Said("base_model", str(error))]
        return self._curate(self.folder / "feedback", out / "policy", out / "dataset")

    def _curate(self, feedback: Path, policy: Path, dataset: Path) -> list[Said]:
        inputs = {"feedback": [feedback], "policy": [policy]}
        try:
            run_component("feedback_curation", CURATION, inputs, {"dataset": dataset})
        except PreflowError as error:
            return [Said("feedback_curation", str(error))]
        return [Said("feedback_curation", what) for what in _of_summary(_summary(dataset))]


def chosen(names: list[str]) -> list[Row]:
    """The faults of these names, or all of them. Raises ParamsError for a name that is none."""
    return [SILENT_BUGS[name] for name in names] if names else list(SILENT_BUGS)


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return found


def _of_import(folder: Path) -> Iterator[Said]:
    for line in (folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines():
        yield Said("human_feedback", json.loads(line)["rule"])
    for finding in _summary(folder)["findings"]:
        yield Said("human_feedback", finding)


def _of_summary(summary: dict[str, Any]) -> Iterator[str]:
    yield from summary["flags"]
    yield from summary["quarantined_by_rule"]
    yield from (f"left_out: {reason}" for reason in summary["aggregation"]["left_out"])
    if any(split["ties"] for split in summary["splits"].values()):
        yield "ties"
    if summary["n_duplicates"]:
        yield "n_duplicates"
