"""Where a candidate comes from, read from the records of the policy and of its reports. No clock, no host, no path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.contract.record import Ids, Record
from components.contract.run import Input
from components.contract.spec import all_specs
from components.errors import WiringError

DATA = ("raw_feedback", "feedback", "dataset", "samples")  # types of artifacts that a person calls data


@dataclass(frozen=True)
class Ancestor:
    """One artifact of the lineage. `component` is `name@version`, or `external <type>` for what came from outside.

    `type` is what the component's spec says of the port; empty for a component that is not here any more.
    """

    id: str
    component: str
    port: str
    type: str
    params: Mapping[str, Any]
    inputs: Ids

    @property
    def name(self) -> str:
        return self.component.partition("@")[0]


@dataclass(frozen=True)
class Story:
    """The candidate's ancestors (itself first, then breadth first) and what its reports compared it with."""

    policy: str
    reports: tuple[str, ...]
    ancestors: tuple[Ancestor, ...]
    reference: str
    champion: str
    dataset: str

    @property
    def objective(self) -> dict[str, Any]:
        """`{name, knob: value}` of the step that made the policy; empty if it had none."""
        chosen = self.ancestors[0].params.get("objective")
        return dict(chosen) if isinstance(chosen, Mapping) else {}

    @property
    def data(self) -> list[Ancestor]:
        """The data in the lineage, found by type: whatever its ports are called."""
        return [item for item in self.ancestors if item.type in DATA]

    def nearest(self, component: str) -> Ancestor | None:
        """The ancestor of this component that is closest to the policy."""
        return next((item for item in self.ancestors if item.name == component), None)


def read_story(policy: Input, reports: Sequence[Input]) -> Story:
    """Raises WiringError if a report is not known to be about this policy, or two disagree about whom they compare."""
    records = [_record_about(policy, report) for report in reports]
    ancestors = tuple(_ancestors(policy.id, policy.record.as_ancestor() if policy.record else {}))
    trained_on = next((item.id for item in ancestors if item.type == "dataset"), "")
    return Story(
        policy=policy.id,
        reports=tuple(report.id for report in reports),
        ancestors=ancestors,
        reference=_compared("reference", records),
        champion=_compared("champion", records),
        dataset=trained_on or _one("dataset", [str(record.inputs.get("dataset", "")) for record in records]),
    )


def _record_about(policy: Input, report: Input) -> Record:
    record = report.record
    if record is None:
        raise WiringError(
            f"registration --in report: {report.path} has no record beside it, so nobody knows which policy it is "
            f"about. Pass the report folder as its step wrote it, with {report.path.name}.record.json."
        )
    if record.inputs.get("policy") != policy.id:
        raise WiringError(
            f"registration --in report: the report is about another policy (got {record.inputs.get('policy')}, the "
            f"policy passed is {policy.id}). Evaluate this policy, or pass the one the report is about."
        )
    return record


def _compared(port: str, records: Sequence[Record]) -> str:
    """The policy behind this input of the reports: the input itself, or the policy that its answers come from."""
    found = []
    for record in records:
        start = record.inputs.get(port, "")
        lineage = _ancestors(start, record.lineage) if isinstance(start, str) and start else ()
        found.append(next((item.id for item in lineage if item.type == "policy"), ""))
    return _one(port, found)


def _one(what: str, found: Sequence[str]) -> str:
    """What those who say something agree on; empty if nobody does."""
    said = sorted({item for item in found if item})
    if len(said) > 1:
        raise WiringError(
            f"registration --in report: the reports differ in their {what} (got {', '.join(said)}). Make them of one."
        )
    return said[0] if said else ""


def _ancestors(start: str, known: Mapping[str, Mapping[str, Any]]) -> Iterator[Ancestor]:
    queue, seen = [start], {start}
    while queue:
        oid = queue.pop(0)
        item = _ancestor(oid, known.get(oid) or {"external": "policy" if oid == start else "artifact"})
        yield item
        for port in sorted(item.inputs):
            ids = item.inputs[port]
            for parent in [ids] if isinstance(ids, str) else ids:
                if parent not in seen:
                    seen.add(parent)
                    queue.append(parent)


def _ancestor(oid: str, raw: Mapping[str, Any]) -> Ancestor:
    if "external" in raw:
        return Ancestor(oid, f"external {raw['external']}", "", raw["external"], {}, {})
    port = next(name for name, made in raw["outputs"].items() if made == oid)
    spec = all_specs().get(raw["component"].partition("@")[0])
    declared = spec.outputs.get(port) if spec else None
    return Ancestor(oid, raw["component"], port, declared.type if declared else "", raw["params"], raw["inputs"])


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters as `a.b`; a Choice stays readable: `objective.name`, `objective.beta`."""
    result: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
