"""Run one component: check the inputs, build the parameters, call `run`, put the outputs in place, write the record."""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import artifacts
from components.contract.params import build, dump
from components.contract.record import Ids, Record, identity, load_record, record_path
from components.contract.spec import Spec, check_artifact, load_params_class, load_spec
from components.errors import ArtifactError, WiringError, nearest

Metrics = Mapping[str, Any]
"""What `run` returns: a flat mapping of metric name to number, text or {value, n, ci_low, ci_high}. It must be
reproducible: anything with a clock in it goes to `outputs.execution` instead."""


@dataclass(frozen=True)
class Input:
    """One input artifact: where it is, what it is, and (if known) the record of how it was made."""

    port: str
    type: str
    path: Path
    id: str
    record: Record | None = None


class Inputs:
    """The inputs of a run, by port."""

    def __init__(self, items: dict[str, list[Input]], spec: Spec) -> None:
        self._items, self._spec = items, spec

    def __getitem__(self, port: str) -> Input:
        return self._items[port][0]

    def __contains__(self, port: str) -> bool:
        return bool(self._items.get(port))

    def __iter__(self) -> Iterator[Input]:
        return (item for items in self._items.values() for item in items)

    def get(self, port: str) -> Input | None:
        """An optional input, or None."""
        return self._items[port][0] if port in self else None

    def many(self, port: str) -> list[Input]:
        """All artifacts of a `many` port, ordered by content id (the order on the command line does not matter)."""
        return list(self._items.get(port, []))

    def ids(self) -> Ids:
        return {
            port: [item.id for item in items] if self._spec.inputs[port].many else items[0].id
            for port, items in self._items.items()
            if items
        }


@dataclass
class Outputs:
    """Where to write. `outputs["model"]` is an empty folder that becomes the artifact when `run` returns.

    `workdir` belongs to this identity and survives a crash: checkpoints go there, it is deleted on success.
    `cache` is shared by all runs of this machine: only values that a key determines completely go there.
    `execution` takes what is true of this run only (seconds, memory, throughput); it is kept beside the record.
    """

    folders: dict[str, Path]
    identity: str
    workdir: Path
    cache: Path
    execution: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, port: str) -> Path:
        return self.folders[port]


def home() -> Path:
    """$PREFLOW_HOME or .preflow: checkpoints, caches, the embedded servers' databases."""
    return Path(os.environ.get("PREFLOW_HOME", ".preflow")).absolute()


def is_main() -> bool:
    """Under torchrun only rank 0 keeps what it writes, and only it says what it made."""
    return int(os.environ.get("RANK", "0")) == 0


def workdir(run_id: str) -> Path:
    """What a step keeps until it is done, so that it can go on after a crash."""
    return home() / "work" / run_id


@dataclass(frozen=True)
class Step:
    """A step that is ready to run: parameters are valid, inputs are here, and so its identity is known."""

    spec: Spec
    params: Any
    inputs: Inputs
    identity: str


def open_step(
    name: str, raw_params: dict[str, Any] | None, inputs: Mapping[str, Sequence[object]], outputs: Collection[str]
) -> tuple[Spec, Any]:
    """Spec and parameters of a step, its ports checked: all that can be known before its inputs are here."""
    spec = load_spec(name)
    params: Any = build(load_params_class(spec), raw_params, f"params.{name}")
    for port in outputs:
        if port not in spec.outputs:
            raise WiringError(f"{spec.name} --out {port}: no such output.{nearest(port, spec.outputs)}")
    for port in spec.outputs:
        if port not in outputs:
            raise WiringError(f"{spec.name}: output '{port}' has no place. Pass --out {port}=PATH.")
    for port in inputs:
        if port not in spec.inputs:
            raise WiringError(f"{spec.name} --in {port}: no such input.{nearest(port, spec.inputs)}")
    for port, expected in spec.inputs.items():
        count = len(inputs.get(port, ()))
        if not count and not expected.optional:
            raise WiringError(f"{spec.name}: input '{port}' ({expected.type}) is missing. Pass --in {port}=PATH.")
        if count > 1 and not expected.many:
            raise WiringError(f"{spec.name} --in {port}: takes one artifact (got {count}). Pass it once.")
    return spec, params


def prepare(spec: Spec, params: Any, paths: Mapping[str, Sequence[Path]]) -> Step:
    """Check the inputs' artifacts and compute their content ids. Raises ArtifactError."""
    items = {
        port: sorted((_input(spec, port, path) for path in paths.get(port, ())), key=lambda item: item.id)
        for port in spec.inputs
    }
    inputs = Inputs(items, spec)
    return Step(spec, params, inputs, identity(spec.ref, dump(params, execution=False), inputs.ids()))


def _input(spec: Spec, port: str, path: Path) -> Input:
    kind = spec.inputs[port].type
    check_artifact(kind, path, f"{spec.name} --in {port}")
    oid = artifacts.content_id(path)
    record = load_record(path)
    if record is not None and oid not in record.outputs.values():
        raise ArtifactError(
            f"{spec.name} --in {port}: {path} was changed after it was made (its record says "
            f"{', '.join(record.outputs.values())}, its content is {oid}). Rerun the step that makes it."
        )
    return Input(port=port, type=kind, path=path, id=oid, record=record)


def run_component(
    name: str, raw_params: dict[str, Any] | None, input_paths: dict[str, list[Path]], output_paths: dict[str, Path]
) -> Record:
    """Run one component from start to finish; returns its record.

    Outputs appear under their final names only when complete; a killed run leaves nothing that looks finished.
    """
    spec, params = open_step(name, raw_params, input_paths, output_paths)
    check_places(spec, input_paths, output_paths)
    return run_step(prepare(spec, params, input_paths), output_paths)


def run_step(step: Step, output_paths: Mapping[str, Path]) -> Record:
    """Run a step that is ready, put its outputs in place, write its record."""
    spec, started, main = step.spec, time.time(), is_main()
    temporaries = _open_outputs(output_paths, keep=main)
    work, cache = workdir(step.identity), home() / "cache"
    work.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    outputs = Outputs(temporaries, step.identity, work, cache)
    try:
        limit_threads(step.params)
        module = importlib.import_module(f"components.{spec.name}.run")
        metrics = dict(module.run(step.params, step.inputs, outputs) or {})
        for port, folder in temporaries.items():
            if main:
                check_artifact(spec.outputs[port].type, folder, f"{spec.name} output {port}")
        record = _record(step, temporaries, metrics)
        if main:
            _publish(record, temporaries, output_paths, outputs.execution, started)
            shutil.rmtree(work, ignore_errors=True)
        return record
    finally:
        for folder in temporaries.values():
            artifacts.remove(folder)


def limit_threads(params: Any) -> None:
    """Linear algebra of this process runs on as many threads as the step's parameters say, else on one.

    How a sum is split over threads changes its last bits, so neither the machine nor who starts the step may decide
    it. The libraries read this when they are loaded; a process that has them already is somebody else's.
    """
    if "numpy" in sys.modules:
        return
    threads = str(getattr(getattr(params, "compute", None), "threads", 1))
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads))


def check_places(spec: Spec, inputs: Mapping[str, Sequence[Path]], paths: Mapping[str, Path]) -> None:
    """Raise WiringError if an output would overwrite an input or another output."""
    for port, path in paths.items():
        others = [*(p for name, p in paths.items() if name != port), *(p for given in inputs.values() for p in given)]
        for other in others:
            mine, theirs = path.absolute(), other.absolute()
            if mine == theirs or mine in theirs.parents or theirs in mine.parents:
                raise WiringError(f"{spec.name} --out {port}: {path} would overwrite {other}. Choose another folder.")


def _open_outputs(paths: Mapping[str, Path], keep: bool) -> dict[str, Path]:
    temporaries = {}
    for port, path in paths.items():
        if not keep:
            temporaries[port] = Path(tempfile.mkdtemp(prefix=f"preflow-rank-{port}-"))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        artifacts.clear_leftovers(path)
        temporaries[port] = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
        temporaries[port].mkdir()
    return temporaries


def _record(step: Step, folders: dict[str, Path], metrics: dict[str, Any]) -> Record:
    lineage: dict[str, dict[str, Any]] = {}
    for item in step.inputs:
        lineage.update(item.record.as_ancestor() if item.record else {item.id: {"external": item.type}})
    return Record(
        component=step.spec.ref,
        identity=step.identity,
        params=dump(step.params, execution=False),
        inputs=step.inputs.ids(),
        outputs={port: artifacts.content_id(folder) for port, folder in folders.items()},
        metrics=metrics,
        lineage=lineage,
    )


def _publish(
    record: Record, temporaries: dict[str, Path], paths: Mapping[str, Path], execution: dict[str, Any], started: float
) -> None:
    facts = {
        "started": started,
        "seconds": round(time.time() - started, 3),
        "host": platform.node(),
        "python": platform.python_version(),
        "git_commit": os.environ.get("PREFLOW_GIT_COMMIT", ""),
        "image": os.environ.get("PREFLOW_IMAGE", ""),
        **execution,
    }
    record.to_json()  # a metric that is not JSON must fail before anything is in place
    for path in paths.values():
        record_path(path).unlink(missing_ok=True)  # never an old record beside a new output
    for port, path in paths.items():
        artifacts.replace(temporaries[port], path)
    for path in paths.values():
        artifacts.write_text(path.with_name(path.name + ".execution.json"), json.dumps(facts, indent=1) + "\n")
        record.write(path)
