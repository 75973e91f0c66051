"""The shape of the house: no circles of imports, no big class, every table listed, every public name of some use."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from components.methods import TABLES
from components.methods.specification import ID, specification
from tests.house.tree import files, modules, name

MAX_CLASS = 250

# What is left to mend, with why; an entry that is not needed any more fails, so that these become empty.
CIRCLES: dict[str, str] = {}
LONG_CLASSES: dict[str, str] = {}
UNUSED: dict[str, str] = {
    "OpenShare": "a range for knobs",
    "Witness": "the protocol that scoring and evaluation take",
    "JudgeWitness": "a judge behind the same protocol, for training that asks one as it goes",
    "ignore_aliases": "PyYAML calls it",
}


# --- imports


def _body(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: what stands under `if TYPE_CHECKING:` does not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            children: list[ast.AST] = [*child.orelse]
        else:
            children = [child]
        for kept in children:
            yield kept
            yield from _body(kept)


def _targets(package: str, node: ast.AST) -> Iterator[str]:
    """Most specific names first: `from a import b` is a.b where that is a module, else a."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*up, *([node.module] if node.module else [])])
        for alias in node.names:
            yield f"{base}.{alias.name}"
            yield base


def import_graph(sources: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> modules it imports anywhere, also inside functions. `sources`: by path from the top."""
    dotted = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in sources}
    graph: dict[str, set[str]] = {}
    for module, path in dotted.items():
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        found = set()
        for node in _body(sources[path]):
            targets = list(_targets(package, node))
            for specific, base in zip(targets[::2], targets[1::2]) if isinstance(node, ast.ImportFrom) else ():
                found.add(specific if specific in dotted else base)
            if isinstance(node, ast.Import):
                found |= set(targets)
        graph[module] = (found & set(dotted)) - {module}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other."""
    reach = {node: _reached(graph, node) for node in graph}
    groups = {
        tuple(sorted(o for o in reach[node] if node in reach.get(o, ()))) for node in graph if node in reach[node]
    }
    return sorted(list(group) for group in groups)


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    left = [*graph[start]]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left += graph.get(node, ())
    return seen


def folders(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same between rooms: folders (`components.records`), and files that lie beside them (`components.errors`)."""

    def folder(module: str) -> str:
        return ".".join(module.split(".")[:2])

    found: dict[str, set[str]] = {}
    for module, targets in graph.items():
        found.setdefault(folder(module), set()).update({folder(t) for t in targets} - {folder(module)})
    return found


def _of_the_house() -> dict[str, set[str]]:
    return import_graph({path: tree for path, tree in modules().items() if path.startswith(("components/", "flows/"))})


@pytest.mark.parametrize("level", ["modules", "folders"])
def test_nothing_imports_in_circles(level: str) -> None:
    """Imports inside functions count: they only hide a circle."""
    graph = _of_the_house()
    found = circles(graph if level == "modules" else folders(graph))
    assert [group for group in found if group[0].split(".")[0] not in CIRCLES] == []
    if level == "modules":
        assert set(CIRCLES) <= {group[0].split(".")[0] for group in found}, "remove the entries not needed any more"


def test_a_circle_is_found_wherever_its_imports_stand() -> None:
    sources = {
        "components/a.py": "from components import b",
        "components/b.py": "def f():\n    import components.c",
        "components/c/__init__.py": "from . import d",
        "components/c/d.py": "from ..a import x",
        "components/e.py": "if TYPE_CHECKING:\n    from components.f import y\nelse:\n    y = None",
        "components/f.py": "from components.e import y",
    }
    graph = import_graph({path: ast.parse(text) for path, text in sources.items()})
    assert graph["components.c.d"] == {"components.a"}
    assert circles(graph) == [["components.a", "components.b", "components.c", "components.c.d"]]


# --- sizes


def test_classes_are_short() -> None:
    lengths = {
        f"{module}::{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    long = {where: length for where, length in lengths.items() if length > MAX_CLASS}
    assert {where: length for where, length in long.items() if where not in LONG_CLASSES} == {}, "part what they do"
    assert set(LONG_CLASSES) <= set(long), "remove the entries that are not needed any more"


# --- tables and ids


def test_every_table_of_the_code_is_listed() -> None:
    """A table that is not in methods/tables.py has no page, no command and no check."""
    made = [
        ast.literal_eval(node.value.args[0])
        for module, tree in modules().items()
        if module.startswith(("components/", "flows/"))
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "Table"
    ]
    assert sorted(made) == sorted(TABLES)


def test_every_id_in_code_and_docs_is_one_of_the_specification() -> None:
    unknown = [
        f"{name(path)}:{number}: {found}"
        for path in files(".py", ".md", ".yaml", ".j2", ".csv")
        if name(path).startswith(("components/", "flows/", "docs/", "README", "CONTRIBUTING", "CHANGELOG", "params"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for found in ID.findall(line)
        if found not in specification()
    ]
    assert unknown == []


# --- names that nobody uses


def _uses(tree: ast.Module) -> Iterator[str]:
    """Names that a file reads, and the words of its texts that could be one (entry points, `getattr`)."""
    for node in (node for top in tree.body if not _is_all(top) for node in ast.walk(top)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.asname)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from set(re.findall(r"\w+", node.value)) if re.fullmatch(r"[\w.:]+", node.value) else ()


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _public(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes, constants and methods that no decorator hands to somebody else (rows, commands)."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            yield node.name
        elif isinstance(node, ast.ClassDef):
            if not any(".row" in ast.unparse(decorator) for decorator in node.decorator_list):
                yield node.name
            yield from (m.name for m in node.body if isinstance(m, ast.FunctionDef))
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_no_public_name_is_of_no_use() -> None:
    """Used by the code itself: a test is no use, nor is being listed in `__all__`."""
    trees = {path: tree for path, tree in modules().items() if not path.startswith("tests/")}
    uses = Counter(use for tree in trees.values() for use in _uses(tree))
    unused = {
        f"{path}::{public}": public
        for path, tree in trees.items()
        if path.startswith(("components/", "flows/"))
        for public in _public(tree)
        if not public.startswith("_") and not uses[public]
    }
    assert {where for where, public in unused.items() if public not in UNUSED} == set(), "remove or use them"
    assert set(UNUSED) <= set(unused.values()), "remove the entries that are not needed any more"
