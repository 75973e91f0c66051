"""The files around the code: make targets, CI, proven versions, DVC settings, profiles."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from flows.env import QUIET
from flows.profile import load_profile, profile_names
from tests.house.tree import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {_key(name): version for name, version in pairs}


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_specs_params_stages_flows_and_docs_agree() -> None:
    """What `make check` runs."""
    done = subprocess.run(
        [sys.executable, "-m", "components", "check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("extra", ["", "s3", "worker", "server", "dev"])
def test_proven_versions_cover_every_requirement(extra: str) -> None:
    """constraints.txt pins everything that pyproject.toml asks for, inside the ranges it gives."""
    project = _pyproject()["project"]
    required = project["optional-dependencies"][extra] if extra else project["dependencies"]
    pins = _pins()
    for requirement in map(Requirement, required):
        if requirement.name == project["name"]:  # `preflow[s3]`: an extra that takes in another
            assert requirement.extras <= set(project["optional-dependencies"])
            continue
        assert _key(requirement.name) in pins, f"constraints.txt lacks {requirement.name}"
        assert requirement.specifier.contains(pins[_key(requirement.name)]), f"{requirement}: proven is another"


def test_proven_versions_name_no_machine_and_no_build() -> None:
    """One version per name; `torch==2.13.0` takes the CPU build where it is at hand, `+cpu` would forbid the others."""
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+", line)] == []
    assert len(_pins()) == len(lines)


def test_the_help_of_make_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  make (\S+) +\S", said, re.MULTILINE)
    assert listed == phony[1].split()


def test_make_and_the_flows_set_the_same_environment() -> None:
    exported = dict(re.findall(r"^export (\w+) \?= (\S+)$", MAKEFILE, re.MULTILINE))
    assert {k: v for k, v in exported.items() if k in QUIET} == {k: v for k, v in QUIET.items() if k in exported}
    assert {k for k in QUIET if k.startswith(("HF_", "MLFLOW_DISABLE", "DVC_", "DO_NOT"))} <= set(exported)


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    targets = re.search(r"for target in (.*); do", script.read_text(encoding="utf-8"))
    assert targets is not None
    assert targets[1].split() == ["setup", "lint", "types", "check", "test"]


def test_pre_commit_hooks_are_local_and_their_tools_installed() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    for hook in config["repos"][0]["hooks"]:
        tool = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert shutil.which(tool) or (Path(sys.executable).parent / tool).exists(), tool


def test_dvc_is_silent_and_its_settings_are_shared() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    assert config.get("core", "analytics").strip() == "false"
    assert config.get("core", "check_update").strip() == "false"
    url = config.get("'remote \"local\"'", "url")
    assert not Path(url).is_absolute()
    patterns = [p for p in (ROOT / ".dvcignore").read_text("utf-8").splitlines() if p and not p.startswith("#")]
    assert all(p.startswith("/") for p in patterns), "a pattern that is not anchored can change content ids"


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_loads(profile: str) -> None:
    assert load_profile(profile).summary.endswith(".")
