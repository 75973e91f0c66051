"""The record beside every output: what made it, from what. No clock and no host, so it is reproducible."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.artifacts import content_id, write_text
from components.errors import ArtifactError

Ids = dict[str, str | list[str]]


def canonical(value: Any) -> str:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def identity(ref: str, params: dict[str, Any], inputs: Ids) -> str:
    """What a run of a component *is*: name@version + every parameter + content ids of the inputs.

    The order of a `many` input does not matter: its ids are sorted. Where and on what the step runs is not part of it,
    except what can change bits, which therefore stands in the parameters (device, threads, precision).
    """
    inputs = {port: sorted(ids) if isinstance(ids, list) else ids for port, ids in inputs.items()}
    text = canonical({"component": ref, "params": params, "inputs": inputs})
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Record:
    """`<output>.record.json`. `lineage` holds the ancestors' records by the content id they made."""

    component: str
    identity: str
    params: dict[str, Any]
    inputs: Ids
    outputs: dict[str, str]
    metrics: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    def as_ancestor(self) -> dict[str, dict[str, Any]]:
        """This record and its ancestors, by output id: what a child keeps as its lineage."""
        own = {k: v for k, v in asdict(self).items() if k not in ("lineage", "metrics")}
        return {**self.lineage, **dict.fromkeys(self.outputs.values(), own)}

    def write(self, output: Path) -> None:
        write_text(record_path(output), self.to_json())

    def outputs_there(self, paths: dict[str, Path]) -> bool:
        """Every output lies at its path with exactly the recorded content."""
        return all(paths[port].exists() and content_id(paths[port]) == oid for port, oid in self.outputs.items())


def record_path(output: Path) -> Path:
    return output.with_name(output.name + ".record.json")


def parse_record(text: str, where: str) -> Record:
    try:
        return Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{where}: not a record ({error}). Delete it and rerun the step.") from error


def load_record(output: Path) -> Record | None:
    """The record beside an output; None if there is none."""
    path = record_path(output)
    return parse_record(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else None
