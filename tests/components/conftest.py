"""A toy component, in this process or in a copy of the contract of its own."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import components
from components.contract import spec

SPEC = """\
name: toy
version: "1"
summary: Write the texts of its inputs, several times.
deterministic: true
inputs:
  texts: {type: raw_feedback, doc: any number of files, many: true}
  head: {type: raw_feedback, doc: what comes first, optional: true}
outputs:
  out: {type: raw_feedback}
  twin: {type: raw_feedback}
resources: {cpu: 1, memory: 1Gi, minutes: 1}
"""

PARAMS = '''\
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Inner:
    suffix: str = "."
    """Written after each text."""


@dataclass(frozen=True)
class Params:
    times: int = 1
    """How often."""
    inner: Inner = field(default_factory=Inner)
    """How each."""
    fail: str = ""
    """Name of the error to raise."""
'''

# TOY_HANG is not a parameter, so it is not part of the identity: the killed run and the rerun are the same run.
RUN = """\
import os
import time

from components import errors


def read(path):
    return (path / "text" if path.is_dir() else path).read_text()


def run(params, inputs, outputs):
    checkpoint = outputs.workdir / "checkpoint"
    resumed = checkpoint.is_file()
    checkpoint.write_text("half")
    texts = [read(item.path) for item in inputs.many("texts")]
    if head := inputs.get("head"):
        texts.insert(0, read(head.path))
    (outputs["out"] / "text").write_text("half")
    if hang := os.environ.get("TOY_HANG"):
        open(hang, "w").close()
        time.sleep(600)
    if params.fail:
        raise getattr(errors, params.fail, RuntimeError)("toy: failed as asked (got fail). Do not ask.")
    (outputs["out"] / "text").write_text("".join(text + params.inner.suffix for text in texts * params.times))
    (outputs["twin"] / "text").write_text("twin")
    outputs.execution["resumed"] = resumed
    return {"n": len(texts)}
"""


def write_toy(package: Path) -> None:
    folder = package / "toy"
    folder.mkdir(parents=True)
    for name, text in {"__init__.py": "", "component.yaml": SPEC, "params.py": PARAMS, "run.py": RUN}.items():
        (folder / name).write_text(text)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy as `components.toy` in this process; returns its folder."""
    package = tmp_path / "toys" / "components"
    write_toy(package)
    monkeypatch.setattr(spec, "ROOT", package)
    monkeypatch.setattr(components, "__path__", [*components.__path__, str(package)])
    spec.all_specs.cache_clear()
    importlib.invalidate_caches()
    yield package / "toy"
    for name in [name for name in sys.modules if name.startswith("components.toy")]:
        del sys.modules[name]
    spec.all_specs.cache_clear()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the contract and the toy (and no table), where `python -m components` knows only them."""
    source, package = Path(components.__file__).parent, tmp_path / "project" / "components"
    for name in ("contract", "remote", "checks", "methods"):
        shutil.copytree(source / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "__main__.py", "cli.py", "errors.py", "artifacts.py", "locks.py"):
        shutil.copyfile(source / name, package / name)
    (package / "methods" / "tables.py").write_text("TABLES = {}\n")
    write_toy(package)
    return package.parent


@pytest.fixture
def cli(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m components ARGS` in the project."""

    def call(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "components", *args],
            cwd=project,
            capture_output=True,
            text=True,
            env={**os.environ, **env},
            check=False,
        )

    return call
