"""The project as the checks read it: specs, parameters, profiles, and what its flows say of themselves."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contract.params import read_params_file
from components.contract.spec import Spec, load_params_class, parse_spec
from components.errors import SpecError

SHARED = "shared"  # the section of params.yaml with blocks that others alias


class Project:
    """What the checks read. A file that cannot be read raises where it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def spec_files(self) -> list[Path]:
        return sorted((self.root / "components").glob("*/component.yaml"))

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

    @cached_property
    def params(self) -> dict[str, Any]:
        """The sections that steps read."""
        params = read_params_file(self.root / "params.yaml")
        return {section: values for section, values in params.items() if section != SHARED}

    @cached_property
    def profiles(self) -> dict[str, dict[str, Any]]:
        """The parameters that each profile lays over params.yaml."""
        files = sorted((self.root / "flows" / "profiles").glob("*.yaml"))
        return {path.stem: read_params_file(path).get("params") or {} for path in files}

    @cached_property
    def catalogue(self) -> dict[str, Any]:
        """`python -m flows.catalogue`: the graph of every flow, and which component reads which section. In a process
        of its own: components never import flows."""
        argv = [sys.executable, "-m", "flows.catalogue"]
        done = subprocess.run(argv, cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise SpecError(f"flows: `python -m flows.catalogue` failed ({reason}). Mend the flow.")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @property
    def readers(self) -> dict[str, str]:
        """Section of params.yaml -> the component that reads it."""
        readers: dict[str, str] = self.catalogue["sections"]
        return readers

    def section_class(self, section: str) -> type | None:
        """The Params that a section of params.yaml fills; None if no step reads it."""
        return self.classes.get(self.readers.get(section, ""))
