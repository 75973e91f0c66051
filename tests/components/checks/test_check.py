"""`components check` finds every disagreement that it promises to find, and nothing in a project that agrees."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.checks.check import CHECKS, Project
from components.checks.docs import component_readme, components_table
from components.checks.pipelines import pipelines
from components.errors import PreflowError

PARAMS = "toy: {times: 1, inner: {suffix: '.'}, fail: ''}\nshared: {any: [1]}\n"
DVC = """\
# The graph of the flow `small`, stage by stage: `dvc repro` runs what changed, `dvc dag` draws it.
# Two toys.
# Written by `python -m components check --write`; to change it, change the flow.
stages:
  toy:
    desc: 'Write: texts'
    cmd: >-
      python -m components run toy --params params.yaml
      --in texts=data/texts
      --in texts=data/more
      --out out=artifacts/small/toy/out
      --out twin=artifacts/small/toy/twin
    deps:
      - components/toy/component.yaml
      - data/texts
      - data/more
    params:
      - toy
    outs:
      - artifacts/small/toy/out
      - artifacts/small/toy/twin
    metrics:
      - artifacts/small/toy/out.record.json:
          cache: false

  toy_2:
    desc: Write them again.
    cmd: >-
      python -m components run toy --params params.yaml:again
      --in texts=artifacts/small/toy/twin
      --in head=artifacts/small/toy/twin
      --out out=artifacts/small/toy_2/out
      --out twin=artifacts/small/toy_2/twin
    deps:
      - components/toy/component.yaml
      - artifacts/small/toy/twin
    params:
      - again
    outs:
      - artifacts/small/toy_2/out
      - artifacts/small/toy_2/twin
    metrics:
      - artifacts/small/toy_2/out.record.json:
          cache: false
"""
STEPS = [
    {"step": "toy", "component": "toy", "section": "toy", "doc": "Write: texts",
     "inputs": {"texts": ["external:data/texts", "external:data/more"]}},
    {"step": "toy_2", "component": "toy", "section": "again", "doc": "Write them again.",
     "inputs": {"texts": ["toy.twin"], "head": ["toy.twin"]}},
]  # fmt: skip
TABLES = """\
from components.contract.table import Table
TOYS = Table("toys", "toy", "components.toy.rows", "Toys.")
TABLES = {"toys": TOYS}
"""
ROWS = '@TOYS.row(method="X-01")\ndef top(*, spin: Positive = 1.0):\n    """It spins."""\n'
PROFILE = "summary: more\nparams: {toy: {times: 3}}\n"


def catalogue(*steps: dict[str, Any], sections: tuple[str, ...] = ("toy",)) -> dict[str, Any]:
    """What `python -m flows.catalogue` prints of a project with one flow."""
    flow = {"pipeline": "dvc.yaml", "summary": "Two toys.", "steps": list(steps)}
    loose: dict[str, Any] = {"pipeline": "", "summary": "In no dvc.yaml.", "steps": []}
    return {"flows": {"small": flow, "loose": loose}, "sections": dict.fromkeys(sections, "toy")}


def write_project(root: Path) -> None:
    """One step of a toy, with its profile, and flows that say so."""
    say = f"import json\nprint(json.dumps({catalogue(STEPS[0])!r}))\n"
    files = {"params.yaml": PARAMS, "flows/profiles/more.yaml": PROFILE, "flows/catalogue.py": say}
    for name, text in {**files, "flows/__init__.py": "", "dvc.yaml": DVC[: DVC.index("\n  toy_2")]}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def root(toy: Path) -> Path:
    root = toy.parent.parent
    write_project(root)
    return root


OWN = ["component.yaml", "run.py", "params.py", "params.yaml", "dvc.yaml", "profiles"]


@pytest.mark.parametrize("name", OWN)
def test_a_project_that_agrees_has_no_problem(root: Path, name: str) -> None:
    assert CHECKS[name](Project(root)) == []


def _problems(name: str, root: Path) -> list[str]:
    try:
        return CHECKS[name](Project(root))
    except PreflowError as error:
        return [str(error)]


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "sentence"),
    [
        (
            "component.yaml",
            "components/toy/component.yaml",
            "name: toy",
            "name: tyo",
            "toy/component.yaml: name must be",
        ),
        (
            "run.py",
            "components/toy/run.py",
            "run(params, inputs",
            "run(params, ins",
            "components/toy/run.py: must define run",
        ),
        (
            "run.py",
            "components/toy/run.py",
            "def run",
            "def start",
            "must define run(params, inputs, outputs) (got None)",
        ),
        ("params.py", "components/toy/params.py", '    """How often."""\n', "", "Params.times: has no docstring"),
        (
            "params.py",
            "components/toy/params.py",
            '    """Written after each text."""\n',
            "",
            "Inner.suffix: has no docstring",
        ),
        ("params.py", "components/toy/params.py", "times: int = 1", "times: int", "times: is required"),
        ("params.py", "components/toy/params.py", "class Params", "class Param", "no Params can be imported"),
        ("params.yaml", "params.yaml", "times: 1, ", "", "params.yaml: toy.times is missing"),
        ("params.yaml", "params.yaml", "{suffix: '.'}", "{}", "params.yaml: toy.inner.suffix is missing"),
        ("params.yaml", "params.yaml", "times: 1", "tims: 1", "unknown key 'tims'. Did you mean 'times'?"),
        ("params.yaml", "params.yaml", "toy:", "toyy:", "no step reads section 'toyy'. Did you mean 'toy'?"),
        ("params.yaml", "params.yaml", "toy:", "toyy:", "params.yaml: no section 'toy', which toy reads. Add it."),
        ("dvc.yaml", "dvc.yaml", "run toy", "run tyo", "dvc.yaml: is not the graph of its flow at toy. Run `python"),
        ("dvc.yaml", "dvc.yaml", "      - data/more\n", "", "is not the graph of its flow at toy. Run"),
        ("dvc.yaml", "dvc.yaml", "  toy:", "  tyo:", "is not the graph of its flow at toy, tyo. Run"),
        ("dvc.yaml", "dvc.yaml", "# Two", "# Too", "dvc.yaml: is not the graph of its flow. Run"),
        ("dvc.yaml", "dvc.yaml", "  toy:\n", "  toy: [\n", "not valid YAML"),
        ("dvc.yaml", "flows/catalogue.py", "json.dumps", "json.dunps", "flows: `python -m flows.catalogue` failed (A"),
        ("profiles", "flows/profiles/more.yaml", "times: 3", "tims: 3", "profile more: toy: unknown key 'tims'"),
        ("profiles", "flows/profiles/more.yaml", "toy:", "tyo:", "profile more: no section 'tyo'. Did you mean 'toy'?"),
    ],
)
def test_a_disagreement_is_found_and_named(root: Path, name: str, file: str, old: str, new: str, sentence: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    assert any(sentence in problem for problem in _problems(name, root)), _problems(name, root)


def test_parameters_have_at_most_15_fields(root: Path) -> None:
    fields = "".join(f'    f{i}: int = 0\n    """x"""\n' for i in range(14))
    path = root / "components/toy/params.py"
    path.write_text(path.read_text().replace("    fail: str", fields + "    fail: str"))
    assert CHECKS["params.py"](Project(root)) == [
        "components/toy/params.py Params: at most 15 fields (got 17). Nest some."
    ]


def test_dvc_yaml_is_the_graph_of_the_flow_with_sections_and_inputs_as_they_are(root: Path) -> None:
    assert pipelines(catalogue(*STEPS), Project(root).specs) == {"dvc.yaml": DVC}


def test_the_pipeline_of_another_flow_lies_in_a_folder_and_works_from_the_top(root: Path) -> None:
    more = catalogue(*STEPS)
    more["flows"]["small"]["pipeline"] = "pipelines/small/dvc.yaml"
    text = pipelines(more, Project(root).specs)["pipelines/small/dvc.yaml"]
    assert "`dvc repro pipelines/small/dvc.yaml` runs what changed" in text
    assert [stage.pop("wdir") for stage in yaml.safe_load(text)["stages"].values()] == ["../.."] * 2


def test_a_section_is_read_by_the_component_that_the_flows_say(root: Path) -> None:
    project = Project(root)
    project.catalogue = catalogue(*STEPS, sections=("again",))
    assert CHECKS["params.yaml"](project) == [
        "params.yaml: no step reads section 'toy'. Known: again.",
        "params.yaml: no section 'again', which toy reads. Add it.",
    ]
    (root / "params.yaml").write_text(PARAMS.replace("toy", "again").replace("times: 1, ", ""))
    project = Project(root)
    project.catalogue = catalogue(*STEPS, sections=("again",))
    assert CHECKS["params.yaml"](project) == ["params.yaml: again.times is missing. Write its default there."]


def test_the_readme_says_what_the_spec_and_the_parameters_say(root: Path) -> None:
    page = component_readme(Project(root).specs["toy"])
    for row in (
        "# toy (version 1)",
        "| `texts` | raw_feedback (many) | any number of files |",
        "| `times` | `1` | How often. |",
        "| `inner.suffix` | `.` | Written after each text. |",
        "--in texts=PATH",
        "Deterministic. Asks for: cpu 1, memory 1Gi, minutes 1.",
    ):
        assert row in page
    assert "head=PATH" not in page  # optional
    assert "| texts*, head? | out, twin |" in components_table(Project(root).specs)


@pytest.fixture
def whole(project: Path) -> Path:
    """A whole project with a table and a flow that need no torch and no Prefect."""
    write_project(project)
    (project / "components" / "methods" / "tables.py").write_text(TABLES)
    (project / "components" / "toy" / "rows.py").write_text(ROWS)
    return project


def test_generated_pages_are_checked_and_rewritten(
    whole: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    first = cli("check")
    assert first.returncode == 2
    for page in ("components/toy/README.md", "docs/components.md", "docs/toys.md"):
        assert f"{page}: is missing. Run `python -m components check --write`." in first.stdout
    (whole / "dvc.yaml").unlink()
    written = cli("check", "--write")
    assert written.returncode == 0, written.stdout + written.stderr
    assert "wrote    components/toy/README.md" in written.stdout
    assert "wrote    dvc.yaml" in written.stdout
    assert written.stdout.splitlines()[-1] == "1 components agree"
    again = cli("check", "--write")
    assert "wrote" not in again.stdout
    readme = whole / "components" / "toy" / "README.md"
    readme.write_text(readme.read_text() + "by hand\n")
    assert "components/toy/README.md: is out of date" in cli("check").stdout


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("flows/catalogue.py", "import no_such_thing\n", "flows: `python -m flows.catalogue` failed"),
        ("components/toy/rows.py", ROWS.replace("Positive", "complex"), "annotation of a knob cannot be read"),
        ("components/toy/rows.py", ROWS.replace("Positive", "float"), "toys top: knob 'spin' has no range"),
    ],
)
def test_what_cannot_be_compared_is_a_problem(
    whole: Path, cli: Callable[..., subprocess.CompletedProcess[str]], file: str, text: str, sentence: str
) -> None:
    (whole / file).write_text(text)
    done = cli("check")
    assert (done.returncode, sentence in done.stdout) == (2, True), done.stdout


def test_choices_in_params_and_profiles_are_checked(root: Path) -> None:
    path = root / "components" / "toy" / "params.py"
    head = "from typing import Annotated\nfrom components.contract.params import Choice\n"
    head += "from tests.components.contract.rows import TOYS\n"
    field = '    toy: Annotated[Choice, TOYS] = field(default_factory=lambda: Choice("near"))\n    """Which."""\n'
    path.write_text(head + path.read_text() + field)
    (root / "params.yaml").write_text(PARAMS.replace("{times", "{toy: {name: near, betta: 1.0}, times"))
    (root / "flows/profiles/more.yaml").write_text("params: {toy: {toy: {name: neer}}}\n")
    project = Project(root)
    assert ["betta" in problem for problem in CHECKS["params.yaml"](project)] == [True]
    assert ["neer" in problem for problem in CHECKS["profiles"](project)] == [True]


def test_the_knobs_and_the_revision_of_a_chosen_row_stand_in_params_yaml(root: Path) -> None:
    path = root / "components" / "toy" / "params.py"
    head = "from typing import Annotated\nfrom components.contract.params import EXECUTION, Choice\n"
    head += "from tests.components.contract.rows import TOYS\n"
    field = '    toy: Annotated[Choice, TOYS] = field(default_factory=lambda: Choice("boxed"))\n    """Which."""\n'
    field += '    every: int = field(default=1, metadata=EXECUTION)\n    """How it is done."""\n'
    path.write_text(head + path.read_text() + field)
    (root / "params.yaml").write_text(PARAMS.replace("{times", "{toy: {name: boxed, size: 2.0}, every: 3, times"))
    assert CHECKS["params.yaml"](Project(root)) == [
        "params.yaml: toy.toy.revision is missing. Write its default there.",
        "params.yaml: toy.toy.colour is missing. Write its default there.",
        "params.yaml: toy.every says how a step is carried out, not what it makes. Set it in a profile, or by --set.",
    ]
