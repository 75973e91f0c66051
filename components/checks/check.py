"""`python -m components check`: everything that is stated in two places must agree.

Each check is a function from the project to sentences for a person; no sentence, no problem.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from components.checks.docs import generated
from components.checks.stages import Stage, edges, read_stages
from components.contract.params import build, dump, field_docs, hints, merge, missing_keys, nested, read_params_file
from components.contract.spec import Port, Spec, load_params_class, parse_spec
from components.errors import ParamsError, PreflowError, SpecError, nearest
from components.methods import TABLES

MAX_FIELDS = 15
FLOW = "align"  # the flow whose graph also stands in dvc.yaml


class Project:
    """What the checks read. A file that cannot be read raises where it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def specs(self) -> dict[str, Spec]:
        """The specs that parse; `check_specs` reports the others."""
        specs = {}
        for path in self.spec_files:
            with contextlib.suppress(SpecError):
                specs[path.parent.name] = parse_spec(path)
        return specs

    @cached_property
    def classes(self) -> dict[str, type]:
        """The Params classes that can be imported; `check_parameters` reports the others."""
        classes = {}
        for name, spec in self.specs.items():
            with contextlib.suppress(SpecError):
                classes[name] = load_params_class(spec)
        return classes

    @property
    def spec_files(self) -> list[Path]:
        return sorted((self.root / "components").glob("*/component.yaml"))

    @cached_property
    def params(self) -> dict[str, Any]:
        return read_params_file(self.root / "params.yaml")

    @cached_property
    def stages(self) -> dict[str, Stage]:
        return read_stages(self.root / "dvc.yaml")

    @cached_property
    def profiles(self) -> dict[str, dict[str, Any]]:
        """The parameters that each profile lays over params.yaml."""
        files = sorted((self.root / "flows" / "profiles").glob("*.yaml"))
        return {path.stem: read_params_file(path).get("params") or {} for path in files}

    def section_class(self, section: str) -> type | None:
        """The Params that a section of params.yaml fills: a stage may have another name than its component."""
        names = [stage.component for stage in self.stages.values() if stage.section == section]
        return self.classes.get(names[0] if names else section)


def check_specs(project: Project) -> list[str]:
    """Every component.yaml parses and has its folder's name."""
    problems = [] if project.spec_files else [f"{project.root}: no components/*/component.yaml here. Run at the top."]
    for path in project.spec_files:
        try:
            parse_spec(path)
        except SpecError as error:
            problems.append(str(error))
    return problems


def check_entry_points(project: Project) -> list[str]:
    """Every component has `def run(params, inputs, outputs)` in run.py (read, not imported: it may need torch)."""
    problems = []
    for path in project.spec_files:
        where = f"components/{path.parent.name}/run.py"
        file = path.parent / "run.py"
        if not file.is_file():
            problems.append(f"{where}: no such file. Add it with def run(params, inputs, outputs).")
            continue
        runs = [
            n for n in ast.parse(file.read_text("utf-8")).body if isinstance(n, ast.FunctionDef) and n.name == "run"
        ]
        found = [arg.arg for arg in runs[0].args.args] if runs else None
        if found != ["params", "inputs", "outputs"]:
            problems.append(f"{where}: must define run(params, inputs, outputs) (got {found}). Mend the signature.")
    return problems


def _classes(cls: type) -> Iterator[type]:
    """A parameter class and the parameter classes in it."""
    yield cls
    for kind in hints(cls).values():
        if inner := nested(kind):
            yield from _classes(inner)


def check_parameters(project: Project) -> list[str]:
    """Every Params builds from its defaults, documents every field, and stays small."""
    problems = []
    for spec in project.specs.values():
        try:
            cls = load_params_class(spec)
        except SpecError as error:
            problems.append(str(error))
            continue
        try:
            build(cls, {}, f"components/{spec.name}/params.py")
        except ParamsError as error:
            problems.append(str(error))
        for inner in _classes(cls):
            where = f"components/{spec.name}/params.py {inner.__name__}"
            fields = [f.name for f in dataclasses.fields(inner)]
            docs = field_docs(inner)
            problems += [
                f"{where}.{name}: has no docstring. Add one under it." for name in fields if not docs.get(name)
            ]
            if len(fields) > MAX_FIELDS:
                problems.append(f"{where}: at most {MAX_FIELDS} fields (got {len(fields)}). Nest some.")
    return problems


def check_params_file(project: Project) -> list[str]:
    """params.yaml has a complete, valid section for every component (DVC cannot see a default that is not there)."""
    problems = []
    for section, values in project.params.items():
        cls = project.section_class(section)
        if cls is None:
            problems.append(f"params.yaml: section '{section}' fits no component.{nearest(section, project.classes)}")
            continue
        try:
            built: Any = build(cls, values, f"params.{section}")
        except ParamsError as error:
            problems.append(f"params.yaml: {error}")
            continue
        lacking = missing_keys(dump(built, execution=False), values, section)
        problems += [f"params.yaml: {key} is missing. Write its default there." for key in lacking]
        problems += [
            f"params.yaml: {key} says how a step is carried out, not what it makes. Set it in a profile, or by --set."
            for key in execution_keys(built, values, section)
        ]
    covered = {project.section_class(section) for section in project.params}
    problems += [f"params.yaml: no section '{n}'. Add one." for n, cls in project.classes.items() if cls not in covered]
    return problems


def execution_keys(built: Any, values: Any, where: str) -> Iterator[str]:
    """Keys of a section that are no part of a step's identity: DVC would run the step again for nothing."""
    for f in dataclasses.fields(built):
        if isinstance(values, dict) and f.name in values:
            inner = getattr(built, f.name)
            if f.metadata.get("execution"):
                yield f"{where}.{f.name}"
            elif dataclasses.is_dataclass(inner):
                yield from execution_keys(inner, values[f.name], f"{where}.{f.name}")


def check_stages(project: Project) -> list[str]:
    """Every stage of dvc.yaml passes its component's ports and declares all that it depends on."""
    problems = []
    for stage in project.stages.values():
        where = f"dvc.yaml stage {stage.name}"
        spec = project.specs.get(stage.component)
        if spec is None:
            problems.append(f"{where}: no component '{stage.component}'.{nearest(stage.component, project.specs)}")
            continue
        problems += [f"{where}: {sentence}" for sentence in _stage_problems(stage, spec)]
    return problems


def _stage_problems(stage: Stage, spec: Spec) -> Iterator[str]:
    yield from _port_problems("--in", set(stage.inputs), spec.inputs)
    yield from _port_problems("--out", set(stage.outputs), spec.outputs)
    for port, paths in stage.inputs.items():
        if len(paths) > 1 and port in spec.inputs and not spec.inputs[port].many:
            yield f"--in {port} takes one artifact (got {len(paths)}). Pass it once."
    needed = {f"components/{spec.name}/component.yaml"}.union(*stage.inputs.values())
    for path in sorted(needed - stage.deps):
        yield f"deps lacks {path}, so DVC would not see it change. Add it."
    for path in sorted(set(stage.outputs.values()) - stage.outs):
        yield f"outs lacks {path}, so DVC would not keep it. Add it."
    if stage.section not in stage.params:
        yield f"params lacks '{stage.section}' (got {sorted(stage.params)}), so DVC would not see it change. Add it."
    if stage.overrides:
        yield f"--set {stage.overrides[0]} hides a value from DVC. Write it in params.yaml."


def _port_problems(flag: str, given: set[str], ports: dict[str, Port]) -> Iterator[str]:
    for name in sorted(given - set(ports)):
        yield f"{flag} {name}: no such port.{nearest(name, ports)}"
    for port in ports.values():
        if port.name not in given and not port.optional:
            yield f"port '{port.name}' is not passed. Add {flag} {port.name}=PATH to cmd."


def _flow_edges(root: Path, flow: str) -> list[dict[str, Any]]:
    """The flow's own graph. In a process of its own: components never import flows."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.graph", flow], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise SpecError(
            f"flow {flow}: cannot compare it with dvc.yaml, `python -m flows.graph {flow}` failed ({reason})."
        )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def check_flow(project: Project) -> list[str]:
    """The graph of the flow is the graph of dvc.yaml."""
    return compare_graphs(_flow_edges(project.root, FLOW), edges(project.stages))


def compare_graphs(flow: list[dict[str, Any]], dvc: list[dict[str, Any]]) -> list[str]:
    """In sentences: where two graphs differ."""
    in_flow, in_dvc = {node["step"]: node for node in flow}, {node["step"]: node for node in dvc}
    problems = [
        f"step {name}: is in the flow {FLOW} but not in dvc.yaml. Add it." for name in in_flow if name not in in_dvc
    ]
    problems += [
        f"stage {name}: is in dvc.yaml but not in the flow {FLOW}. Remove it." for name in in_dvc if name not in in_flow
    ]
    for name in [name for name in in_flow if name in in_dvc]:
        mine, theirs = in_flow[name], in_dvc[name]
        if mine["component"] != theirs["component"]:
            problems.append(f"step {name}: runs {mine['component']} in the flow, {theirs['component']} in dvc.yaml.")
        for port in sorted(mine["inputs"].keys() | theirs["inputs"].keys()):
            left, right = sorted(mine["inputs"].get(port, [])), sorted(theirs["inputs"].get(port, []))
            if left != right:
                problems.append(
                    f"step {name}, input {port}: the flow connects {left}, dvc.yaml {right}. Make them one."
                )
    return problems


def check_profiles(project: Project) -> list[str]:
    """What every profile lays over params.yaml is valid there."""
    problems = []
    for profile, overlay in project.profiles.items():
        for section, values in overlay.items():
            cls = project.section_class(section)
            if cls is None or section not in project.params:
                problems.append(f"profile {profile}: no section '{section}'.{nearest(section, project.params)}")
                continue
            try:
                build(cls, merge(cls, project.params[section] or {}, values or {}), section)
            except ParamsError as error:
                problems.append(f"profile {profile}: {error}")
    return problems


def check_tables(project: Project) -> list[str]:
    """Every row of every table can be read, says what it is, and bounds its knobs."""
    problems = []
    for name, table in TABLES.items():
        try:
            rows = table.rows.values()
        except SpecError as error:
            problems.append(str(error))
            continue
        for row in rows:
            numbers = [k for k, knob in row.knobs.items() if knob.annotation in (int, float)]
            problems += [f"{name} {row.name}: knob '{k}' has no range. Use one of contract.ranges." for k in numbers]
    return problems


def _complete(project: Project) -> dict[str, Spec]:
    return {name: spec for name, spec in project.specs.items() if name in project.classes}


def check_generated(project: Project) -> list[str]:
    """Generated pages say what the code says."""
    remedy = "Run `python -m components check --write`."
    problems = []
    for path, text in generated(project.root, _complete(project)).items():
        name = path.relative_to(project.root).as_posix()
        if not path.is_file():
            problems.append(f"{name}: is missing. {remedy}")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{name}: is out of date. {remedy}")
    return problems


CHECKS: dict[str, Callable[[Project], list[str]]] = {
    "component.yaml": check_specs,
    "run.py": check_entry_points,
    "params.py": check_parameters,
    "params.yaml": check_params_file,
    "dvc.yaml": check_stages,
    f"flow {FLOW}": check_flow,
    "profiles": check_profiles,
    "tables": check_tables,
    "generated docs": check_generated,
}


def write_generated(project: Project) -> list[str]:
    """Rewrite the generated pages that differ; returns their names."""
    written = []
    for path, text in generated(project.root, _complete(project)).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path.relative_to(project.root).as_posix())
    return written


def check(root: Path, write: bool) -> int:
    """Run every check on the project at `root` and print what was found; 0 if all agree, else 2."""
    project = Project(root)
    seen: set[str] = set()
    if write:
        for name in write_generated(project):
            print(f"wrote    {name}")
    for name, function in CHECKS.items():
        try:
            problems = function(project)
        except PreflowError as error:  # a file that several checks need cannot be read
            problems = [str(error)]
        if not problems:
            print(f"ok       {name:<16} {(function.__doc__ or '').splitlines()[0]}")
        for problem in problems:
            print(f"PROBLEM  {name:<16} {'the same' if problem in seen else problem}")
            seen.add(problem)
    print(
        f"{len(seen)} problem(s) in {len(project.specs)} components"
        if seen
        else f"{len(project.specs)} components agree"
    )
    return 2 if seen else 0
