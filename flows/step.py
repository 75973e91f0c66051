"""The bridge from a step of a flow to a component that runs somewhere: spec, parameters, cache, runner, record."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from components.contract.record import Record
from components.errors import PreflowError
from flows.cache import Miss, explain
from flows.env import git_commit
from flows.graph import Graph, Handle, Node
from flows.resolver import Artifact, Resolver
from flows.run_folder import RunFolder, StepReport
from flows.runner import Job, RunCancelled, StepFailed, compute_of, make_job
from flows.runners import open_runner
from flows.schedule import Demand, at_once, in_order
from flows.settings import Settings, write_params


class Run:
    """One run of a flow: its graph, what has been made so far, and the folder that tells about it."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.graph = Graph()
        self.runner = open_runner(settings)
        self.cache = self.runner.cache
        self.known = Resolver(settings)
        self.id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{settings.flow}-{name}"
        self.folder = RunFolder(Path("runs") / self.id, settings, git_commit(), self.runner.read)
        write_params(settings, self.params_file)

    @property
    def params_file(self) -> Path:
        return self.folder.path / "params.yaml"

    def wire(self, champion: Handle | None = None) -> Node:
        """The flow's graph, all of it before anything runs; returns its last step. What has been made stays made."""
        self.graph, last = self.settings.wire(champion)
        return last

    def until(self, handle: Handle) -> Artifact:
        """Run whatever is still needed for `handle`: ancestors first, what is independent at the same time."""
        nodes = [node for node in self.graph.needed_for(handle) if node.name not in self.known.records]
        room = self.runner.room(self.settings.profile.at_once)
        if room.steps == 1:
            in_order(nodes, self._as_task)
        else:
            at_once(nodes, self._as_task, self._demand, room, self.runner.end)
        return self.known.artifact(handle)

    def _demand(self, node: Node) -> Demand:
        threads, processes, device = compute_of(self.settings, node)
        return Demand(max(1, threads) * processes, gpu=device != "cpu")

    def finish(self, node: Node) -> Record:
        """Run everything up to and including a step; returns its record."""
        self.until(node[next(iter(node.spec.outputs))])
        return self.known.records[node.name]

    def done(self, type_name: str) -> list[tuple[Node, str, Record]]:
        """The steps of this run that made an artifact of this type, with the port it has."""
        return [
            (node, port.name, self.known.records[node.name])
            for node in self.graph.nodes.values()
            if node.name in self.known.records
            for port in node.spec.outputs.values()
            if port.type == type_name
        ]

    def lookup(self, node: Node) -> tuple[str, Record | Miss]:
        """The identity of a step whose inputs are known, and its record if it is done already."""
        params, wanted, paths = self.known.params(node), self.known.identity(node), self.known.outputs(node)
        record = self.cache.find(wanted, paths)
        if record is None:
            return wanted, Miss(explain(node.spec, params, self.known.ids(node), paths))
        miss = self.cache.restore(record, paths)
        if miss is None and "registry" in node.spec.effects and not _registered(wanted, params):
            miss = Miss("made before, but the registry does not hold it")
        return wanted, miss or record

    def _as_task(self, node: Node) -> None:
        """Run one step as a Prefect task: retried by exit code, shown as Cached when there was nothing to do."""
        profile = self.settings.profile

        @task(
            name=node.name,
            task_run_name=node.name,
            cache_policy=NO_CACHE,  # Prefect does not look into files: our cache decides, Prefect shows the outcome
            retries=profile.retries,
            retry_delay_seconds=profile.retry_delay,
            retry_condition_fn=_worth_retrying,
        )
        def step() -> Any:
            return self._attempt(node)

        state: State[Any] = step(return_state=True)
        try:
            state.result()  # raises what the step raised
        except BaseException as error:
            status = "interrupted" if isinstance(error, RunCancelled) else "failed"
            self.folder.add(
                StepReport(step=node.name, component=node.spec.ref, status=status, why=str(state.message or error))
            )
            raise

    def _attempt(self, node: Node) -> Any:
        log, started = get_run_logger(), time.time()
        wanted, found = self.lookup(node)
        if isinstance(found, Record):
            log.info("cached: %s (identity %s)", node.spec.ref, wanted)
            self._done(node, found, StepReport.of(node, found, "cached", 0.0, "same identity, outputs verified"))
            return Completed(name="Cached", message=f"identity {wanted}", data=found.outputs)
        log.info("running %s: %s (identity %s)", node.spec.ref, found.reason, wanted)
        self.folder.add(StepReport(step=node.name, component=node.spec.ref, status="running", why=found.reason))
        self.runner.run(self.job(node, wanted), self.folder.log(node.name), log.info, _cancelled)
        record = self.runner.record(wanted, self.known.outputs(node))
        if record is None or record.identity != wanted:
            raise PreflowError(
                f"step {node.name}: left no record of identity {wanted} (got {record and record.identity}). "
                "Something changed its inputs while it ran: rerun the flow."
            )
        self._done(node, record, StepReport.of(node, record, "done", time.time() - started, found.reason))
        return record.outputs

    def _done(self, node: Node, record: Record, report: StepReport) -> None:
        self.cache.keep(record, self.known.outputs(node))
        self.known.records[node.name] = record
        self.folder.add(report)

    def job(self, node: Node, wanted: str) -> Job:
        inputs = {
            port: [self.runner.reference(self.known.artifact(handle)) for handle in handles]
            for port, handles in node.inputs.items()
        }
        return make_job(node, self.settings, self.runner, self.runner.params(self.params_file), inputs, wanted)


def _cancelled() -> bool:
    """Somebody has cancelled this flow run (by the dashboard, say). The API is asked: nobody tells the process."""
    import prefect.runtime
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType

    run_id = prefect.runtime.flow_run.id
    if run_id is None:
        return False
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
    except httpx.HTTPError:  # the API is away for a moment: asked again soon
        return False
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)


def _worth_retrying(task: Any, task_run: Any, state: State[Any]) -> bool:
    """Only crashes: what a person or the data must cure fails at once."""
    try:
        state.result()
    except StepFailed as error:
        return error.retryable
    except PreflowError as error:
        return error.exit_code == 1
    except Exception:  # noqa: BLE001  (whatever else broke may be passing)
        return True
    return False


def _registered(wanted: str, params: dict[str, Any]) -> bool:
    from components.registry import verify

    return bool(verify(wanted, params["name"]))
