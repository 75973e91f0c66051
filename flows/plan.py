"""`preflow plan`: what a run would do, step by step, and why. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass

from components.contract.record import identity
from flows.cache import explain
from flows.catalogue import load_flow
from flows.champion import fetch_champion
from flows.graph import Graph, Node
from flows.resolver import Resolver
from flows.runner import Job, Runner, make_job
from flows.runners import open_runner
from flows.settings import Settings


@dataclass(frozen=True)
class PlannedStep:
    """`cached`: the outputs are there. `runs`: they are not. `depends`: an input is still to be made."""

    step: str
    action: str
    why: str
    resources: str
    job: str = ""
    """What the cluster says to the Job of a step that is not cached, without making it; empty on the local runner."""


class Plan:
    """Walks a graph as a run would, with identities instead of work."""

    def __init__(self, settings: Settings, graph: Graph, runner: Runner) -> None:
        self.settings, self.runner, self.cache = settings, runner, runner.cache
        self.known = Resolver(settings)
        self.steps = [self._step(node) for node in graph.nodes.values()]

    def _step(self, node: Node) -> PlannedStep:
        action, why = self._decide(node)
        resources = ", ".join(f"{key} {value}" for key, value in node.spec.resources.items())
        answer = self.runner.rehearse(self._job(node)) if action != "cached" else ""
        return PlannedStep(node.name, action, why, resources, answer)

    def _job(self, node: Node) -> Job:
        """The step's job; what is still to be made stands in it by its name."""
        inputs = {
            port: [f"dvc:{self.known.artifact(h).id if self.known.knows(h) else h}" for h in handles]
            for port, handles in node.inputs.items()
        }
        stand_in = identity(node.spec.ref, self.known.params(node), {"inputs": str(inputs)})
        return make_job(node, self.settings, self.runner, "dvc:PARAMS", inputs, stand_in)

    def _decide(self, node: Node) -> tuple[str, str]:
        if missing := self.known.missing(node):
            return "depends", f"on {', '.join(map(str, missing))}: cached only if that comes out as before"
        paths = self.known.outputs(node)
        record = self.cache.find(self.known.identity(node), paths)
        if record is None:
            return "runs", explain(node.spec, self.known.params(node), self.known.ids(node), paths)
        gone = self.cache.missing(record, paths)
        if gone:
            return "runs", f"made before, but the output is gone: {', '.join(gone)}"
        self.known.records[node.name] = record
        return "cached", f"{node.spec.ref}, identity {record.identity[:12]}"


def make_plan(settings: Settings) -> Plan:
    """The plan of a flow under these settings. Raises WiringError, ParamsError, ArtifactError.

    Where there is a champion to beat it is fetched, as the run would do. A run that makes it again ends before
    evaluation.
    """
    runner = open_runner(settings)
    champion = fetch_champion(settings, runner) if load_flow(settings.flow).beats_champion else None
    return Plan(settings, settings.wire(champion)[0], runner)
