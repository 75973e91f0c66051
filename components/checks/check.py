"""`python -m components check`: everything that is stated in two places must agree.

Each check is a function from the project to sentences for a person; no sentence, no problem.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from components.checks.docs import generated
from components.checks.pipelines import pipelines
from components.checks.project import Project
from components.contract.params import build, dump, field_docs, hints, merge, missing_keys, nested, read_params_file
from components.contract.spec import Spec, load_params_class, parse_spec
from components.errors import ParamsError, PreflowError, SpecError, nearest
from components.methods import TABLES

MAX_FIELDS = 15
REMEDY = "Run `python -m components check --write`."


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
    """params.yaml has a complete, valid section for every step (DVC cannot see a default that is not there)."""
    problems = []
    for section, values in project.params.items():
        cls = project.section_class(section)
        if cls is None:
            problems.append(f"params.yaml: no step reads section '{section}'.{nearest(section, project.readers)}")
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
    absent = {section: name for section, name in project.readers.items() if section not in project.params}
    problems += [
        f"params.yaml: no section '{section}', which {name} reads. Add it." for section, name in absent.items()
    ]
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


def check_pipelines(project: Project) -> list[str]:
    """Every dvc.yaml holds the graph of its flow."""
    problems = []
    for name, text in pipelines(project.catalogue, project.specs).items():
        path = project.root / name
        if not path.is_file():
            problems.append(f"{name}: is missing. {REMEDY}")
        elif path.read_text(encoding="utf-8") != text:
            stages = differing(path, text)
            problems.append(f"{name}: is not the graph of its flow{f' at {stages}' if stages else ''}. {REMEDY}")
    return problems


def differing(path: Path, text: str) -> str:
    """The stages of a dvc.yaml that are not what they should be, by name; empty if only its comments differ."""
    wanted, found = yaml.safe_load(text)["stages"], (read_params_file(path).get("stages") or {})
    names = [*wanted, *(name for name in found if name not in wanted)]
    return ", ".join(name for name in names if wanted.get(name) != found.get(name))


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
    problems = []
    for path, text in generated(project.root, _complete(project)).items():
        name = path.relative_to(project.root).as_posix()
        if not path.is_file():
            problems.append(f"{name}: is missing. {REMEDY}")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{name}: is out of date. {REMEDY}")
    return problems


CHECKS: dict[str, Callable[[Project], list[str]]] = {
    "component.yaml": check_specs,
    "run.py": check_entry_points,
    "params.py": check_parameters,
    "params.yaml": check_params_file,
    "dvc.yaml": check_pipelines,
    "profiles": check_profiles,
    "tables": check_tables,
    "generated docs": check_generated,
}


def write_generated(project: Project) -> list[str]:
    """Rewrite the generated files that differ; returns their names."""
    wanted = generated(project.root, _complete(project))
    with contextlib.suppress(SpecError):  # flows that cannot be read are a problem of their own, reported as one
        wanted |= {project.root / name: text for name, text in pipelines(project.catalogue, project.specs).items()}
    written = []
    for path, text in wanted.items():
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
