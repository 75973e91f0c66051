"""`component.yaml`: what an orchestrator must know about a component without importing its code."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from components.contract.yaml_text import parse_yaml
from components.errors import ArtifactError, SpecError, nearest

ROOT = Path(__file__).resolve().parent.parent

# The closed table of artifact types: what every artifact of a type holds. `a|b` means either; a new type is an
# architecture decision (docs/adr), a new port is not.
ARTIFACT_TYPES: dict[str, tuple[str, ...]] = {
    "raw_feedback": (),  # files in any native format, or one file
    "feedback": ("records.jsonl", "quarantine.jsonl", "summary.json"),
    "dataset": ("train.jsonl", "validation.jsonl", "test.jsonl", "quarantine.jsonl", "summary.json", "card.html"),
    "samples": ("samples.jsonl", "summary.json"),
    "scores": ("scores.jsonl", "summary.json"),
    "verdicts": ("verdicts.jsonl", "summary.json"),
    "policy": ("config.json", "tokenizer.json", "*.safetensors"),
    "preference_model": ("card.json",),  # its kind says what else it holds
    "reference_logprobs": ("manifest.json",),
    "report": ("metrics.json", "report.html"),
    "decision": ("gate.json", "model_card.md"),
}


@dataclass(frozen=True)
class Port:
    """One named input or output. `many` takes any number of artifacts, `optional` may be left out (inputs only)."""

    name: str
    type: str
    doc: str = ""
    many: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Spec:
    """A parsed `component.yaml`."""

    name: str
    version: str
    summary: str
    deterministic: bool
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    resources: dict[str, Any]
    effects: tuple[str, ...] = ()
    folder: Path = field(default=ROOT, compare=False)

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


_KEYS = {"name", "version", "summary", "deterministic", "inputs", "outputs", "resources", "effects"}
_RESOURCES = {"gpu", "cpu", "memory", "minutes"}
_EFFECTS = {"registry"}  # registry: a hit counts only if the model registry still holds what the step put there


def _ports(where: str, raw: Any, output: bool) -> dict[str, Port]:
    ports = {}
    for name, body in (raw or {}).items():
        if not isinstance(body, dict) or "type" not in body:
            raise SpecError(f"{where}.{name}: a port is {{type: ..., doc: ...}} (got {body!r}). Write it that way.")
        allowed = {"type", "doc"} if output else {"type", "doc", "many", "optional"}
        for key in body:
            if key not in allowed:
                raise SpecError(f"{where}.{name}: unknown key '{key}'.{nearest(key, allowed)}")
        if body["type"] not in ARTIFACT_TYPES:
            raise SpecError(f"{where}.{name}: unknown type '{body['type']}'.{nearest(body['type'], ARTIFACT_TYPES)}")
        ports[name] = Port(name=name, **body)
    return ports


def parse_spec(path: Path) -> Spec:
    """Read and check one `component.yaml`. Raises SpecError."""
    where = f"{path.parent.name}/{path.name}"
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"{where}: not valid YAML ({error}). Fix the syntax.") from error
    if not isinstance(raw, dict):
        raise SpecError(f"{where}: must be a mapping (got {type(raw).__name__}). See CONTRIBUTING.md.")
    for key in raw:
        if key not in _KEYS:
            raise SpecError(f"{where}: unknown key '{key}'.{nearest(key, _KEYS)}")
    for key in _KEYS - {"effects", "inputs"} - set(raw):
        raise SpecError(f"{where}: key '{key}' is missing. Add it.")
    if raw["name"] != path.parent.name:
        raise SpecError(
            f"{where}: name must be the folder's name (got '{raw['name']}'). Rename one of them to the other."
        )
    if not isinstance(raw["version"], str):
        raise SpecError(f'{where}: version must be a quoted string (got {raw["version"]!r}). Write version: "1".')
    for key in raw["resources"] or {}:
        if key not in _RESOURCES:
            raise SpecError(f"{where}.resources: unknown key '{key}'.{nearest(key, _RESOURCES)}")
    for effect in raw.get("effects", []):
        if effect not in _EFFECTS:
            raise SpecError(f"{where}.effects: unknown effect '{effect}'.{nearest(effect, _EFFECTS)}")
    return Spec(
        name=raw["name"],
        version=raw["version"],
        summary=raw["summary"],
        deterministic=bool(raw["deterministic"]),
        inputs=_ports(f"{where}.inputs", raw.get("inputs"), output=False),
        outputs=_ports(f"{where}.outputs", raw["outputs"], output=True),
        resources=dict(raw["resources"] or {}),
        effects=tuple(raw.get("effects", [])),
        folder=path.parent,
    )


@cache
def all_specs() -> dict[str, Spec]:
    """Every component by name."""
    return {spec.name: spec for spec in map(parse_spec, sorted(ROOT.glob("*/component.yaml")))}


def load_spec(name: str) -> Spec:
    """The spec of one component. Raises SpecError with the nearest name."""
    specs = all_specs()
    if name not in specs:
        raise SpecError(f"component '{name}': no such component.{nearest(name, specs)}")
    return specs[name]


def load_params_class(spec: Spec) -> type:
    """The component's `Params` dataclass (imports its torch-free `params.py` only). Raises SpecError."""
    try:
        cls: type = importlib.import_module(f"components.{spec.name}.params").Params
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"components/{spec.name}/params.py: no Params can be imported ({error}). Add the dataclass."
        ) from error
    return cls


def check_artifact(type_name: str, path: Path, where: str) -> None:
    """Raise ArtifactError unless `path` holds what an artifact of this type must hold."""
    wanted = ARTIFACT_TYPES[type_name]
    if not path.exists():
        raise ArtifactError(f"{where}: {path} does not exist. Check the path, or run the step that makes it.")
    if wanted and not path.is_dir():
        raise ArtifactError(f"{where}: a {type_name} is a folder (got the file {path}). Pass the folder.")
    for pattern in wanted:
        if not any(path.glob(pattern)):
            raise ArtifactError(f"{where}: {path} is not a {type_name}: no {pattern} in it. Check the wiring.")
