"""`preflow plan`: what a run would do, step by step, and why. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass

from components.artifacts import content_id
from components.contract.record import Ids, Record, identity
from flows.cache import explain
from flows.graph import Graph, Handle, Node
from flows.runner import Job, Runner, make_job, open_runner
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
        self.known: dict[str, Record] = {}
        self.steps = [self._step(node) for node in graph.nodes.values()]

    def _step(self, node: Node) -> PlannedStep:
        action, why = self._decide(node)
        resources = ", ".join(f"{key} {value}" for key, value in node.spec.resources.items())
        answer = self.runner.rehearse(self._job(node)) if action != "cached" else ""
        return PlannedStep(node.name, action, why, resources, answer)

    def _job(self, node: Node) -> Job:
        """The step's job; what is still to be made stands in it by its name."""
        inputs = {
            port: [f"dvc:{self.id(handle) if self.is_known(handle) else handle}" for handle in handles]
            for port, handles in node.inputs.items()
        }
        stand_in = identity(node.spec.ref, self.settings.section(node.name, node.spec), {"inputs": str(inputs)})
        return make_job(node, self.settings, self.runner, "dvc:PARAMS", inputs, stand_in)

    def _decide(self, node: Node) -> tuple[str, str]:
        params = self.settings.section(node.name, node.spec)
        open_inputs = [str(h) for handles in node.inputs.values() for h in handles if not self.is_known(h)]
        if open_inputs:
            return "depends", f"on {', '.join(open_inputs)}: cached only if that comes out as before"
        ids = self.ids(node)
        paths = {port: self.settings.output(node.name, port) for port in node.spec.outputs}
        record = self.cache.find(identity(node.spec.ref, params, ids), paths)
        if record is None:
            return "runs", explain(node.spec, params, ids, paths)
        missing = self.cache.missing(record, paths)
        if missing:
            return "runs", f"made before, but the output is gone: {', '.join(missing)}"
        self.known[node.name] = record
        return "cached", f"{node.spec.ref}, identity {record.identity[:12]}"

    def is_known(self, handle: Handle) -> bool:
        if handle.path is not None:
            return handle.path.exists()
        return bool(handle.id) or handle.step in self.known

    def id(self, handle: Handle) -> str:
        if handle.path is not None:
            return content_id(handle.path)
        return handle.id or self.known[handle.step].outputs[handle.port]

    def ids(self, node: Node) -> Ids:
        return {
            port: sorted(map(self.id, handles)) if node.spec.inputs[port].many else self.id(handles[0])
            for port, handles in node.inputs.items()
        }


def make_plan(settings: Settings) -> Plan:
    """The plan of a flow under these settings. Raises WiringError, ParamsError, ArtifactError.

    For `retrain` the champion is fetched, as the run would do. A run that makes it again ends before evaluation.
    """
    from flows.catalogue import FLOWS
    from flows.retrain import fetch_champion

    graph, entry = Graph(), FLOWS[settings.flow]
    runner = open_runner(settings)
    opponent = {"champion": fetch_champion(settings, runner)} if entry.beats_champion else {}
    entry.wire(graph, settings.raw_feedback(), settings.profile.sources, **opponent)
    return Plan(settings, graph, runner)
