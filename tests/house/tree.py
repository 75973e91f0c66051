"""The files of the project, for the tests that read them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("components", "flows", "tests", "examples", "benchmarks", "infra", "k8s")
_MADE = {"__pycache__", "artifacts", "data", "runs", "out", "dist", "node_modules"}  # never committed


def files(*suffixes: str) -> Iterator[Path]:
    """Every text file that is or could be committed, by path."""
    for folder, folders, names in os.walk(ROOT):
        hidden = {name for name in folders if name.startswith(".") and name not in (".ci", ".dvc")}
        folders[:] = sorted(set(folders) - _MADE - hidden - ({"tmp", "cache"} if folder.endswith(".dvc") else set()))
        for name in sorted(names):
            if not suffixes or name.endswith(suffixes):
                yield Path(folder) / name


@cache
def modules() -> dict[str, ast.Module]:
    """Every Python file, parsed, by its path from the top."""
    return {name(path): ast.parse(path.read_text(encoding="utf-8")) for path in files(".py")}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(module: str, tree: ast.Module) -> Iterator[str]:
    """Full names of what a file imports, wherever in the file; `from a import b` gives both a and a.b."""
    package = module.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            yield full
            yield from (f"{full}.{alias.name}" for alias in node.names)


def components() -> set[str]:
    """Folders of components/ with a component.yaml."""
    return {path.parent.name for path in ROOT.glob("components/*/component.yaml")}
