"""A step whose artifacts live in the DVC remote: inputs are pulled by content id, outputs pushed, checkpoints mirrored.

This is how a pod runs a step. It shares no disk with anything, may be restarted anywhere, and leaves the same content
ids and the same record as a run on a laptop.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from components import artifacts
from components.artifacts import Store
from components.contract.record import Record, load_record
from components.contract.run import Step, check_places, home, is_main, open_step, prepare, run_step, workdir
from components.errors import ArtifactError, PreflowError
from components.remote import Remote, refs
from components.remote.mirror import Mirror
from components.remote.refs import Ref


def run_with_remote(
    name: str,
    raw_params: dict[str, Any] | None,
    inputs: Mapping[str, Sequence[Ref | Path]],
    outputs: Mapping[str, Path] | Sequence[str],
) -> Record:
    """Run one component on artifacts of the remote. `outputs`: where to write, or the ports whose artifacts are pushed.

    A step that is done (its record and its outputs are in the remote) does not run again.
    """
    remote, store = Remote.configured(), refs.node_store()
    spec, params = open_step(name, raw_params, inputs, outputs)
    wanted: dict[Path, str] = {}
    paths: dict[str, list[Path]] = {}
    for port, given in inputs.items():
        for item in given:
            path = item if isinstance(item, Path) else refs.fetch(item, remote, store, f"{name} --in {port}")
            paths.setdefault(port, []).append(path)
            if isinstance(item, Ref):
                wanted[path] = item.oid
    step = prepare(spec, params, paths)
    for got in step.inputs:
        if got.id != wanted.get(got.path, got.id):
            raise ArtifactError(
                f"{name} --in {got.port}: {got.path} was changed after it was pulled (got {got.id}). Delete it."
            )
    if isinstance(outputs, Mapping):
        check_places(spec, paths, outputs)
        return run_step(step, outputs)
    return _deliver(step, remote, store)


def _deliver(step: Step, remote: Remote, store: Store) -> Record:
    """Run a step unless it is done, and push what it makes. Under torchrun rank 0 does all that others can see."""
    done = remote.record(step.identity)
    if done is not None and not any(remote.missing(oid) for oid in done.outputs.values()):
        if is_main():
            print(f"done before: {done.component} {done.identity} is in {remote.url}", flush=True)
            _drop_work(remote, step.identity)
        return done
    places = {port: home() / "outputs" / step.identity / port for port in step.spec.outputs}
    record = _made_here(places, step.identity)
    if record is None:
        work = workdir(step.identity)
        remote.load_work(step.identity, work, exact=_world("WORLD_SIZE") != _world("LOCAL_WORLD_SIZE"))
        with Mirror(remote, step.identity, work) if is_main() else nullcontext():
            record = run_step(step, places)
    if is_main():
        _push(record, places, remote, store)
    return record


def _made_here(places: Mapping[str, Path], identity: str) -> Record | None:
    """The record of outputs that lie here complete: the process ended before they were all pushed."""
    if _world("WORLD_SIZE") > 1:  # processes look at different moments, and must not decide differently
        return None
    record = load_record(next(iter(places.values())))
    return record if record and record.identity == identity and record.outputs_there(dict(places)) else None


def _world(name: str) -> int:
    return int(os.environ.get(name, "1"))


def _push(record: Record, places: Mapping[str, Path], remote: Remote, store: Store) -> None:
    for path in places.values():
        remote.push(store.put(path, link=True), store)
    facts = next(iter(places.values()))
    execution = json.loads(facts.with_name(facts.name + ".execution.json").read_text(encoding="utf-8"))
    remote.put_record(record, execution)
    _drop_work(remote, record.identity)
    artifacts.remove(facts.parent)


def _drop_work(remote: Remote, identity: str) -> None:
    try:
        remote.drop_work(identity)
    except PreflowError as error:  # the step is done all the same
        print(f"checkpoint: not removed: {error}", file=sys.stderr, flush=True)
