"""`components new` writes a component whose own tests pass, and says what is left to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from components.checks.new import scaffold
from components.errors import SpecError
from tests.components.checks.test_check import STEPS, catalogue, write_project

ROOT = Path(__file__).parents[3]


def test_a_new_component_runs_its_tests_and_passes_check_and_lint(
    project: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for name in ("tests/__init__.py", "tests/conftest.py", "tests/components/__init__.py", "pyproject.toml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, project / name)
    said = cli("new", "fresh_idea")
    assert said.returncode == 0, said.stderr
    for words in (
        "params.yaml",
        "feedback: [human_feedback, fresh_idea]",
        "Proof: python -m pytest tests/components/fresh_idea",
    ):
        assert words in said.stdout
    tests = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/components/fresh_idea"]
    for command in (
        tests,
        [sys.executable, "-m", "ruff", "check", "."],
        [sys.executable, "-m", "ruff", "format", "--check", "."],
    ):
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    section = said.stdout.split("watches:\n")[1].partition("\n\n2.")[0]
    write_project(project)
    with (project / "params.yaml").open("a") as file:
        file.write(section + "\n")
    sections = {"toy": "toy", "fresh_idea": "fresh_idea"}
    with (project / "flows" / "catalogue.py").open("w") as file:
        file.write(f"print({json.dumps(json.dumps(catalogue(STEPS[0]) | {'sections': sections}))})\n")
    lines = cli("check").stdout.splitlines()
    for name in ("component.yaml", "run.py", "params.py", "params.yaml", "dvc.yaml"):
        assert any(line.startswith(f"ok       {name} ") for line in lines), lines
    assert set(yaml.safe_load(section)) == {"fresh_idea"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Fresh", "lower case"),
        ("a-b", "lower case"),
        ("../up", "lower case"),
        ("toy", "is there already"),
        ("errors", "is there"),
    ],
)
def test_a_bad_or_taken_name_is_refused(project: Path, name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        scaffold(name, project)


def test_outside_the_project_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="not the project folder"):
        scaffold("fresh_idea", tmp_path)
    assert list(tmp_path.iterdir()) == []
