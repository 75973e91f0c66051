"""`dvc.yaml`, written from the flows: the same graph, stage by stage, for whoever runs it without Prefect."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from components.contract.params import as_yaml
from components.contract.spec import Spec

_HEADER = """\
# The graph of the flow `{flow}`, stage by stage: `dvc repro{target}` runs what changed, `dvc dag{target}` draws it.
# {summary}
# Written by `python -m components check --write`; to change it, change the flow.
"""


def pipelines(catalogue: Mapping[str, Any], specs: Mapping[str, Spec]) -> dict[str, str]:
    """The text of every dvc.yaml by its path, from what `python -m flows.catalogue` prints.

    A flow whose component has no spec is left out: `components check` reports the spec.
    """
    return {
        flow["pipeline"]: pipeline(name, flow, specs)
        for name, flow in catalogue["flows"].items()
        if flow["pipeline"] and all(step["component"] in specs for step in flow["steps"])
    }


def pipeline(name: str, flow: Mapping[str, Any], specs: Mapping[str, Spec]) -> str:
    """One dvc.yaml. Paths in it are relative to the project folder, wherever the file lies."""
    folder = posixpath.dirname(flow["pipeline"])
    target = f" {flow['pipeline']}" if folder else ""
    head = _HEADER.format(flow=name, summary=flow["summary"], target=target) + "stages:\n"
    up = posixpath.relpath(".", folder) if folder else ""
    stages = ["\n".join(_stage(name, step, specs[step["component"]], up)) + "\n" for step in flow["steps"]]
    return head + "\n".join(stages)


def _stage(flow: str, step: Mapping[str, Any], spec: Spec, up: str) -> Iterator[str]:
    inputs = [(port, _place(flow, handle)) for port, handles in step["inputs"].items() for handle in handles]
    outputs = [(port, _place(flow, f"{step['step']}.{port}")) for port in spec.outputs]
    section = "" if step["section"] == spec.name else f":{step['section']}"
    yield f"  {step['step']}:"
    yield f"    desc: {as_yaml(step['doc'])}"
    if up:
        yield f"    wdir: {up}"
    yield "    cmd: >-"
    yield f"      python -m components run {spec.name} --params params.yaml{section}"
    yield from (f"      --in {port}={path}" for port, path in inputs)
    yield from (f"      --out {port}={path}" for port, path in outputs)
    yield "    deps:"
    yield f"      - components/{spec.name}/component.yaml"
    yield from (f"      - {path}" for path in dict.fromkeys(path for _, path in inputs))
    yield "    params:"
    yield f"      - {step['section']}"
    yield "    outs:"
    yield from (f"      - {path}" for _, path in outputs)
    yield "    metrics:"
    yield f"      - {outputs[0][1]}.record.json:"
    yield "          cache: false"


def _place(flow: str, handle: str) -> str:
    """Where an artifact of the default profile lies: `step.port`, or `external:path`."""
    if handle.startswith("external:"):
        return handle.removeprefix("external:")
    return "/".join(["artifacts", flow, *handle.split(".")])
