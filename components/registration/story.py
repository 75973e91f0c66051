"""Where a candidate comes from, read from the records of the policy and of its report. No clock, no host, no path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.contract.record import Ids, Record
from components.contract.run import Input
from components.errors import WiringError


@dataclass(frozen=True)
class Ancestor:
    """One artifact of the lineage. `component` is `name@version`, or `external <type>` for what came from outside."""

    id: str
    component: str
    port: str
    params: Mapping[str, Any]
    inputs: Ids

    @property
    def name(self) -> str:
        return self.component.partition("@")[0]


@dataclass(frozen=True)
class Story:
    """The candidate's ancestors (itself first, then breadth first) and what its report compared it with."""

    policy: str
    report: str
    ancestors: tuple[Ancestor, ...]
    reference: str
    champion: str
    dataset: str

    @property
    def objective(self) -> dict[str, Any]:
        """`{name, knob: value}` of the step that made the policy; empty if it had none."""
        chosen = self.ancestors[0].params.get("objective")
        return dict(chosen) if isinstance(chosen, Mapping) else {}

    def nearest(self, component: str) -> Ancestor | None:
        """The ancestor of this component that is closest to the policy."""
        return next((item for item in self.ancestors if item.name == component), None)


def read_story(policy: Input, report: Input) -> Story:
    """Raises WiringError if the report is not known to be about this policy."""
    record = report.record
    if record is None:
        raise WiringError(
            f"registration --in report: {report.path} has no record beside it, so nobody knows which policy it is "
            f"about. Pass the report folder as the evaluation step wrote it, with {report.path.name}.record.json."
        )
    if record.inputs.get("policy") != policy.id:
        raise WiringError(
            f"registration --in report: the report is about another policy (got {record.inputs.get('policy')}, the "
            f"policy passed is {policy.id}). Evaluate this policy, or pass the one the report is about."
        )
    made_from = policy.record.inputs if policy.record else {}
    return Story(
        policy=policy.id,
        report=report.id,
        ancestors=tuple(_ancestors(policy.id, policy.record)),
        reference=str(record.inputs.get("reference", "")),
        champion=str(record.inputs.get("champion", "")),
        dataset=str(made_from.get("dataset") or record.inputs.get("dataset", "")),
    )


def _ancestors(policy: str, record: Record | None) -> Iterator[Ancestor]:
    known = record.as_ancestor() if record else {}
    queue, seen = [policy], {policy}
    while queue:
        oid = queue.pop(0)
        raw = known.get(oid) or {"external": "policy" if oid == policy else "artifact"}
        item = _ancestor(oid, raw)
        yield item
        for port in sorted(item.inputs):
            ids = item.inputs[port]
            for parent in [ids] if isinstance(ids, str) else ids:
                if parent not in seen:
                    seen.add(parent)
                    queue.append(parent)


def _ancestor(oid: str, raw: Mapping[str, Any]) -> Ancestor:
    if "external" in raw:
        return Ancestor(oid, f"external {raw['external']}", "", {}, {})
    port = next(name for name, made in raw["outputs"].items() if made == oid)
    return Ancestor(oid, raw["component"], port, raw["params"], raw["inputs"])


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters as `a.b`; a Choice stays readable: `objective.name`, `objective.beta`."""
    result: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
