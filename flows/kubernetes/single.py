"""One step of a flow on the cluster, without Prefect: for trying a step, and for finding out why it fails."""

from __future__ import annotations

from pathlib import Path

from components.contract.record import Record, identity
from components.errors import PreflowError, WiringError
from flows.graph import Node
from flows.kubernetes.runner import KubernetesRunner
from flows.plan import make_plan
from flows.runner import Artifact, Emit, make_job
from flows.settings import Settings, write_params


def submit(settings: Settings, runner: KubernetesRunner, node: Node, log: Path, emit: Emit) -> Record:
    """Run it, even if it is cached. Raises WiringError if an input has not been made, JobFailed."""
    plan = make_plan(settings)
    inputs: dict[str, list[str]] = {}
    for port, handles in node.inputs.items():
        for handle in handles:
            if not plan.is_known(handle):
                raise WiringError(f"step {node.name}: its input {handle} has not been made. Run that step first.")
            made_by = plan.known[handle.step].identity if handle.step in plan.known else handle.made_by
            artifact = Artifact(plan.id(handle), handle.path, made_by)
            inputs.setdefault(port, []).append(runner.reference(artifact))
    file = log.with_suffix(".params.yaml")
    write_params(settings, file)
    wanted = identity(node.spec.ref, settings.section(node.name, node.spec), plan.ids(node))
    job = make_job(node, settings, runner, runner.params(file), inputs, wanted)
    runner.run(job, log, emit, lambda: False)
    record = runner.record(wanted, {port: settings.output(node.name, port) for port in node.spec.outputs})
    if record is None:
        raise PreflowError(f"step {node.name}: its Job is complete, but left no record. See {log}.")
    return record
