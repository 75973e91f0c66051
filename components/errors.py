"""Every error preflow raises on purpose, and the exit code each one ends a process with.

    PreflowError                 1   something failed that a retry may cure
    ├── UserError                2   a person must change something; never retried
    │   ├── SpecError                a component.yaml, dvc.yaml or profile is wrong
    │   ├── ParamsError              a parameter is unknown, missing, mistyped or out of range
    │   ├── WiringError              steps are connected in a way the ports do not allow
    │   └── GateError                a version did not pass its gate, and is asked for all the same
    ├── DataError                3   the data is bad; never retried
    │   ├── RecordError              a feedback record breaks a rule
    │   └── ArtifactError            an artifact is missing, incomplete or not what its id says
    └── JudgeError               1   a judge endpoint failed (network, overload); retried

Messages follow one grammar: `WHERE: WHAT (got X). REMEDY.`
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PreflowError(Exception):
    """Base of all deliberate errors."""

    exit_code = 1


class UserError(PreflowError):
    exit_code = 2


class SpecError(UserError):
    pass


class ParamsError(UserError):
    pass


class WiringError(UserError):
    pass


class GateError(UserError):
    pass


class DataError(PreflowError):
    exit_code = 3


class RecordError(DataError):
    """A feedback record breaks a rule.

    `file`, `line` (1-based), `field` and `rule` say where; importers turn it into a quarantine row.
    """

    def __init__(
        self, message: str, *, rule: str = "", field: str = "", file: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.rule, self.field, self.file, self.line = rule, field, file, line


class ArtifactError(DataError):
    pass


class JudgeError(PreflowError):
    pass


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest known name, else the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""


def first_line(error: BaseException) -> str:
    """The first line of what an error says (with the next one if it ends in a colon); its type where that is not plain.

    >>> first_line(KeyError("gelu_fast_new"))
    "KeyError 'gelu_fast_new'"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
    return f"{type(error).__name__} {text}" if isinstance(error, LookupError) else text
