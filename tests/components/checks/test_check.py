"""`components check` finds every disagreement that it promises to find, and nothing in a project that agrees."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.checks import check as checks
from components.checks.check import CHECKS, Project, compare_graphs
from components.checks.docs import component_readme, components_table
from components.errors import PreflowError

PARAMS = "toy: {times: 1, inner: {suffix: '.'}, fail: ''}\n"
DVC = """\
stages:
  toy:
    cmd: >-
      python -m components run toy --params params.yaml
      --in texts=data/texts --out out=made/toy/out --out twin=made/toy/twin
    deps: [components/toy/component.yaml, data/texts]
    params: [toy]
    outs: [made/toy/out, made/toy/twin]
    metrics: [{made/toy/out.record.json: {cache: false}}]
  report:
    cmd: echo not a component
"""
TABLES = """\
from components.contract.table import Table
TOYS = Table("toys", "toy", "components.toy.rows", "Toys.")
TABLES = {"toys": TOYS}
"""
ROWS = '@TOYS.row(method="X-01")\ndef top(*, spin: Positive = 1.0):\n    """It spins."""\n'
PROFILE = "summary: more\nparams: {toy: {times: 3}}\n"


def write_project(root: Path) -> None:
    for name, text in {"params.yaml": PARAMS, "dvc.yaml": DVC, "flows/profiles/more.yaml": PROFILE}.items():
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
        ("params.yaml", "params.yaml", "toy:", "toyy:", "section 'toyy' fits no component. Did you mean 'toy'?"),
        ("params.yaml", "params.yaml", "toy:", "toyy:", "params.yaml: no section 'toy'. Add one."),
        ("dvc.yaml", "dvc.yaml", "run toy", "run tyo", "dvc.yaml stage toy: no component 'tyo'. Did you mean 'toy'?"),
        (
            "dvc.yaml",
            "dvc.yaml",
            "--in texts",
            "--in text",
            "stage toy: --in text: no such port. Did you mean 'texts'?",
        ),
        ("dvc.yaml", "dvc.yaml", "--in texts=data/texts", "", "port 'texts' is not passed. Add --in texts=PATH"),
        ("dvc.yaml", "dvc.yaml", "--out twin=made/toy/twin", "", "port 'twin' is not passed. Add --out twin=PATH"),
        (
            "dvc.yaml",
            "dvc.yaml",
            "--in texts",
            "--in head=a --in head=b --in texts",
            "--in head takes one artifact (got 2)",
        ),
        ("dvc.yaml", "dvc.yaml", ", data/texts]", "]", "deps lacks data/texts"),
        ("dvc.yaml", "dvc.yaml", "components/toy/component.yaml, ", "", "deps lacks components/toy/component.yaml"),
        ("dvc.yaml", "dvc.yaml", ", made/toy/twin]", "]", "outs lacks made/toy/twin"),
        ("dvc.yaml", "dvc.yaml", "params: [toy]", "params: [toy.times]", "params lacks 'toy' (got ['toy.times'])"),
        ("dvc.yaml", "dvc.yaml", "--params params.yaml", "--params params.yaml:other", "params lacks 'other'"),
        (
            "dvc.yaml",
            "dvc.yaml",
            "params.yaml\n",
            "params.yaml --set times=2\n",
            "--set times=2 hides a value from DVC",
        ),
        ("dvc.yaml", "dvc.yaml", "--in texts=", "--inn texts=", "its command is not understood"),
        ("dvc.yaml", "dvc.yaml", "data/texts]", "'data/${texts}']", "must be written out"),
        ("dvc.yaml", "dvc.yaml", "stages:", "stage:", "must have a mapping `stages`"),
        ("dvc.yaml", "dvc.yaml", "  toy:\n", "  toy: [\n", "not valid YAML"),
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


def test_a_stage_may_have_another_name_than_its_component(root: Path) -> None:
    text = DVC.replace("  toy:\n", "  again:\n").replace("--params params.yaml", "--params params.yaml:again")
    (root / "dvc.yaml").write_text(text.replace("params: [toy]", "params: [again]"))
    (root / "params.yaml").write_text(PARAMS.replace("toy", "again"))
    assert [problem for name in ("params.yaml", "dvc.yaml") for problem in CHECKS[name](Project(root))] == []


def _node(step: str, component: str = "toy", **inputs: list[str]) -> dict[str, Any]:
    return {"step": step, "component": component, "inputs": inputs}


@pytest.mark.parametrize(
    ("flow", "dvc", "sentence"),
    [
        ([_node("a"), _node("b")], [_node("a")], "step b: is in the flow align but not in dvc.yaml"),
        ([_node("a")], [_node("a"), _node("b")], "stage b: is in dvc.yaml but not in the flow align"),
        ([_node("a")], [_node("a", "other")], "step a: runs toy in the flow, other in dvc.yaml"),
        (
            [_node("a", x=["b.out"])],
            [_node("a", x=["c.out"])],
            "step a, input x: the flow connects ['b.out'], dvc.yaml ['c.out']",
        ),
        ([_node("a", x=["b.out"])], [_node("a")], "step a, input x: the flow connects ['b.out'], dvc.yaml []"),
        ([_node("a", x=["b.o", "b.o"])], [_node("a", x=["b.o"])], "input x"),
    ],
)
def test_two_graphs_that_differ(flow: list[dict[str, Any]], dvc: list[dict[str, Any]], sentence: str) -> None:
    assert [sentence in problem for problem in compare_graphs(flow, dvc)] == [True]


def test_two_graphs_that_agree_in_another_order() -> None:
    flow = [_node("a"), _node("b", x=["a.o", "a.p"])]
    assert compare_graphs(flow, [_node("b", x=["a.p", "a.o"]), _node("a")]) == []


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
    (project / "flows" / "__init__.py").write_text("")
    edges = checks.edges(checks.read_stages(project / "dvc.yaml"))
    (project / "flows" / "graph.py").write_text(f"import json\nprint(json.dumps({edges!r}))\n")
    return project


def test_generated_pages_are_checked_and_rewritten(
    whole: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    first = cli("check")
    assert first.returncode == 2
    for page in ("components/toy/README.md", "docs/components.md", "docs/toys.md"):
        assert f"{page}: is missing. Run `python -m components check --write`." in first.stdout
    written = cli("check", "--write")
    assert written.returncode == 0, written.stdout + written.stderr
    assert "wrote    components/toy/README.md" in written.stdout
    assert written.stdout.splitlines()[-1] == "1 components agree"
    again = cli("check", "--write")
    assert "wrote" not in again.stdout
    readme = whole / "components" / "toy" / "README.md"
    readme.write_text(readme.read_text() + "by hand\n")
    assert "components/toy/README.md: is out of date" in cli("check").stdout


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("flows/graph.py", "import no_such_thing\n", "flow align: cannot compare it with dvc.yaml"),
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
