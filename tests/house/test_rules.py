"""The rules of the house, read from the code: who may import whom, how long things may be, what is never written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.house.tree import ROOT, components, files, imports, modules, name

MAX_FILE, MAX_FUNCTION = 400, 60
LONG_FUNCTIONS: dict[str, str] = {}  # "path::function": why. To become empty; an entry that is not needed fails.
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system"}
UNSAFE_KEYWORDS = {"trust_remote_code", "shell", "allow_pickle"}


def test_components_do_not_import_components() -> None:
    known = components()
    found = [
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module.startswith("components/") and module.split("/")[1] in known
        for target in imports(module, tree)
        for other in known - {module.split("/")[1]}
        if target == f"components.{other}" or target.startswith(f"components.{other}.")
    ]
    assert found == [], "move what is shared into a library (a folder of components/ without component.yaml)"


def test_libraries_do_not_import_components() -> None:
    known = components()
    found = [
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module.startswith("components/") and module.split("/")[1] not in known
        for target in imports(module, tree)
        if target.split(".")[0] == "components" and len(target.split(".")) > 1 and target.split(".")[1] in known
    ]
    assert found == []


def test_components_do_not_import_flows_or_tests() -> None:
    found = [
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module.startswith("components/")
        for target in imports(module, tree)
        if target.split(".")[0] in ("flows", "tests", "prefect")
    ]
    assert found == []


def test_flows_do_not_import_the_code_of_components() -> None:
    """A flow knows a component by its spec and its params.py; everything else runs in a process of its own."""
    found = [
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module.startswith("flows/")
        for target in imports(module, tree)
        if target.split(".")[0] == "components" and len(target.split(".")) > 1 and target.split(".")[1] in components()
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    silent = [module for module, tree in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert silent == [], "say in one line what each file is about"


def test_files_are_short() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files(".py")}
    assert {n: length for n, length in lengths.items() if length > MAX_FILE} == {}, "split them by subject"


def _functions(module: str, tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield f"{module}::{node.name}", node.end_lineno - node.lineno + 1


def test_functions_are_short() -> None:
    lengths = dict(found for module, tree in modules().items() for found in _functions(module, tree))
    long = {function: length for function, length in lengths.items() if length > MAX_FUNCTION}
    assert {f: length for f, length in long.items() if f not in LONG_FUNCTIONS} == {}, "split them by what they do"
    assert set(LONG_FUNCTIONS) <= set(long), "remove the entries that are not needed any more"


def _call_name(node: ast.Call) -> str:
    try:
        return ast.unparse(node.func)
    except RecursionError:  # a very long chain is none of the names looked for
        return ""


def _unsafe(module: str, tree: ast.Module) -> Iterator[str]:
    for target in imports(module, tree):
        if target.split(".")[0] in UNSAFE_MODULES:
            yield f"{module}: imports {target}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if _call_name(node) in UNSAFE_CALLS:
            yield f"{module}:{node.lineno}: calls {_call_name(node)}"
        for keyword in node.keywords:
            true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            if keyword.arg in UNSAFE_KEYWORDS and true:
                yield f"{module}:{node.lineno}: {keyword.arg}=True"


def test_nothing_unsafe_is_called() -> None:
    """Artifacts are safetensors, parquet, JSON and safe YAML; foreign code and shells run nowhere."""
    assert [line for module, tree in modules().items() for line in _unsafe(module, tree)] == []


# Written in pieces, so that this file does not find itself.
MACHINE = re.compile("|".join(["/" + "work/", "/" + "root/", "/" + "farm/", r"/tmp/" + "v/", r"\." + "library/"]))
HOSTS = re.compile(
    "|".join(["py" + r"pi\.org", "files.python" + "hosted", "deb.debian" + r"\.org", r"registry\.npm" + "js"])
)
TEXT = (
    ".py",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".txt",
    ".cfg",
    ".ini",
    ".sh",
    ".j2",
    ".html",
    ".json",
    "Makefile",
    "run",
    "Dockerfile",
)


def test_no_file_names_one_machine_or_a_package_host() -> None:
    found = [
        f"{name(path)}:{number}: {match[0]}"
        for path in files(*TEXT)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in [MACHINE.search(line) or HOSTS.search(line)]
        if match
    ]
    assert found == []


def test_no_large_file_is_committed_to_git() -> None:
    """Weights and data belong to DVC."""
    assert [name(path) for path in files() if path.stat().st_size > 1_000_000] == []


def test_tests_mirror_the_tree() -> None:
    """tests/components/X tests components/X: a folder of tests without its code was left behind by a rename."""
    for top in ("components", "flows"):
        tested = {
            path.name for path in (ROOT / "tests" / top).glob("[a-z]*") if path.is_dir() and any(path.glob("test_*.py"))
        }
        code = {path.name.removesuffix(".py") for path in (ROOT / top).iterdir()}
        assert tested - code == set()


def test_every_component_has_tests() -> None:
    assert {c for c in components() if not any((ROOT / "tests" / "components" / c).glob("test_*.py"))} == set()
