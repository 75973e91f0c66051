"""One step of a flow by itself, without Prefect: for trying a step, and for finding out why it fails."""

from __future__ import annotations

from pathlib import Path

from components.contract.record import Record
from components.errors import PreflowError, WiringError
from flows.graph import Node
from flows.plan import make_plan
from flows.runner import Emit, Runner, make_job
from flows.settings import Settings, write_params


def submit(settings: Settings, runner: Runner, node: Node, log: Path, emit: Emit) -> Record:
    """Run it, even if it is cached. Raises WiringError if an input has not been made, StepFailed."""
    known = make_plan(settings).known
    if missing := known.missing(node):
        raise WiringError(f"step {node.name}: its input {missing[0]} has not been made. Run that step first.")
    inputs = {
        port: [runner.reference(known.artifact(handle)) for handle in handles] for port, handles in node.inputs.items()
    }
    file = log.with_suffix(".params.yaml")
    write_params(settings, file)
    wanted = known.identity(node)
    runner.run(make_job(node, settings, runner, runner.params(file), inputs, wanted), log, emit, lambda: False)
    record = runner.record(wanted, known.outputs(node))
    if record is None:
        raise PreflowError(f"step {node.name}: it has ended, but left no record. See {log}.")
    return record
