"""A file read as a whole: its records, its quarantine, and what to say of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contract.params import Choice
from components.records.importers import About, Quarantined, import_one
from components.records.importers.limits import Limits
from components.records.importers.options import Options
from components.records.schema import Record


@dataclass(frozen=True)
class Whole:
    """One file that could be read. `name`: its path in the folder."""

    name: str
    about: About
    records: Sequence[Record]
    quarantine: Sequence[Quarantined]

    @property
    def n_lines(self) -> int:
        return len(self.records) + len(self.quarantine)

    @property
    def share(self) -> float:
        """Share of the lines that are quarantined; 1 of a file without lines."""
        return len(self.quarantine) / self.n_lines if self.n_lines else 1.0

    def findings(self) -> list[str]:
        """What is no fault and should be looked at all the same, a sentence each."""
        left = ", ".join(f"{column} ({count} rows)" for column, count in sorted(self.about.left_aside.items()))
        said = [f"{self.name}: columns of no meaning to the format {self.about.format} are left aside: {left}."]
        found = said if left else []
        if self.about.one_prompt:
            prompt = " ".join(part.get("text", "") for message in self.about.prompt for part in message["parts"])
            found.append(
                f"{self.name}: all {len(self.records)} records have the same prompt, {prompt[:80]!r}. Look whether the "
                "file holds more of it in another column, or in the answers."
            )
        return found


def read_whole(file: Path, name: str, format: Choice, facts: Options, limits: Limits) -> Whole:
    """Every line of one file, called `name`. Raises DataError if it cannot be read as a whole."""
    about, records, quarantine = About(), [], []
    for row in import_one(file, name, format, facts.for_file(name), limits, about):
        if isinstance(row, Quarantined):
            quarantine.append(row)
        else:
            records.append(row)
    return Whole(name, about, records, quarantine)


def top_reasons(quarantine: Iterable[Quarantined]) -> str:
    """The three most frequent rules with their counts and the first example of each."""
    rows = list(quarantine)
    examples = {row.rule: row.reason for row in reversed(rows)}
    rules = Counter(row.rule for row in rows).most_common(3)
    return "; ".join(f"{rule} x {count}, such as {examples[rule]}" for rule, count in rules)
