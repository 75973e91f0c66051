"""What may not be slow is not slow: flows, params and the CLIs import no torch. Measured in modules, not in seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.tree import ROOT, components

HEAVY = ("torch", "transformers", "accelerate", "peft", "sklearn", "pandas", "datasets", "matplotlib")


def _imported(*names: str, also: tuple[str, ...] = ()) -> list[str]:
    """Which heavy modules are loaded after importing `names` in a fresh process."""
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print('HEAVY', *(name for name in {HEAVY + also!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def _modules(folder: str) -> list[str]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def test_no_flow_module_imports_torch() -> None:
    assert _imported(*_modules("flows")) == []


def test_no_params_module_imports_anything_heavy() -> None:
    names = sorted(f"components.{name}.params" for name in components())
    assert _imported(*names, also=("prefect", "mlflow", "dvc", "numpy")) == []


@pytest.mark.parametrize("name", ["records", "simulation", "judges", "registry"])
def test_libraries_that_flows_use_import_no_torch(name: str) -> None:
    assert _imported(*_modules(f"components/{name}"), also=("prefect", "mlflow")) == []


def test_preflow_help_does_not_wait_for_prefect_or_mlflow() -> None:
    code = (
        "import sys; import flows.cli; print('HEAVY', *(n for n in ('prefect', 'mlflow', 'dvc') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["HEAVY"]
