"""The stages of `dvc.yaml` that run components, as plain data, so that they can be compared with specs and flows."""

from __future__ import annotations

import contextlib
import io
import posixpath
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.contract.arguments import parser
from components.errors import SpecError

_COMMAND = ["python", "-m", "components", "run"]


@dataclass(frozen=True)
class Stage:
    """One stage `python -m components run COMPONENT ...`: what its command says, and what it declares to DVC."""

    name: str
    component: str
    section: str
    inputs: dict[str, list[str]]
    outputs: dict[str, str]
    overrides: list[str]
    deps: set[str]
    outs: set[str]
    params: set[str]


def _paths(entries: Any) -> set[str]:
    """DVC writes an entry as `path` or as `{path: {cache: false}}`."""
    return {posixpath.normpath(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries or []}


def _params(entries: Any) -> set[str]:
    """Keys of params.yaml that a stage depends on."""
    keys = set()
    for entry in entries or []:
        keys |= set(entry.get("params.yaml") or []) if isinstance(entry, dict) else {entry}
    return keys


def _split(name: str, items: list[str], flag: str) -> list[tuple[str, str]]:
    pairs = []
    for item in items:
        port, sign, path = item.partition("=")
        if not sign:
            raise SpecError(f"dvc.yaml stage {name}: {flag} must be PORT=PATH (got {item}). Write it that way.")
        pairs.append((port, posixpath.normpath(path)))
    return pairs


def _stage(name: str, body: dict[str, Any]) -> Stage | None:
    words = shlex.split(str(body.get("cmd", "")))
    if words[:4] != _COMMAND:
        return None
    try:
        with contextlib.redirect_stderr(io.StringIO()) as complaint:
            args = parser().parse_args(words[3:])
    except SystemExit:
        reason = complaint.getvalue().strip().splitlines()[-1]
        raise SpecError(f"dvc.yaml stage {name}: its command is not understood ({reason}). Mend cmd.") from None
    inputs: dict[str, list[str]] = {}
    for port, path in _split(name, args.inputs, "--in"):
        inputs.setdefault(port, []).append(path)
    return Stage(
        name=name,
        component=args.name,
        section=(args.params or "").partition(":")[2] or args.name,
        inputs=inputs,
        outputs=dict(_split(name, args.outputs, "--out")),
        overrides=args.set,
        deps=_paths(body.get("deps")),
        outs=_paths(body.get("outs")),
        params=_params(body.get("params")),
    )


def read_stages(path: Path) -> dict[str, Stage]:
    """The component stages of a `dvc.yaml` by name. Raises SpecError."""
    if not path.is_file():
        raise SpecError(f"{path.name}: no such file in {path.parent}. Run from the project folder.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SpecError(f"{path.name}: not valid YAML ({error}). Fix the syntax.") from error
    bodies = raw.get("stages") if isinstance(raw, dict) else None
    if not isinstance(bodies, dict):
        raise SpecError(f"{path.name}: must have a mapping `stages` (got {type(bodies).__name__}). Add it.")
    stages = {}
    for name, body in bodies.items():
        if not isinstance(body, dict) or "${" in str(body):
            raise SpecError(f"dvc.yaml stage {name}: must be written out, without foreach and ${{...}}. Write it out.")
        stage = _stage(name, body)
        if stage is not None:
            stages[name] = stage
    return stages


def edges(stages: dict[str, Stage]) -> list[dict[str, Any]]:
    """The graph in the form of `python -m flows.graph`: inputs as `stage.port` or `external:path`."""
    made_by = {path: f"{stage.name}.{port}" for stage in stages.values() for port, path in stage.outputs.items()}
    return [
        {
            "step": stage.name,
            "component": stage.component,
            "inputs": {
                port: [made_by.get(path, f"external:{path}") for path in paths] for port, paths in stage.inputs.items()
            },
        }
        for stage in stages.values()
    ]
