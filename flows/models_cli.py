"""`preflow models`: what is registered, how it was made, who is champion; promote and roll back with a reason."""

from __future__ import annotations

import functools
import getpass
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from components.errors import PreflowError

if TYPE_CHECKING:
    from components.registry import Entry, Registry, VersionInfo

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
P = ParamSpec("P")

Name = Annotated[str, typer.Argument(help="registered model")]
Version = Annotated[str, typer.Argument(help="a number, @champion or @challenger")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for programs")]
Reason = Annotated[str, typer.Option("--reason", help="why; it is kept with the model")]


def console() -> Console:
    return Console(highlight=False, markup=False)


def deliberate(command: Callable[P, None]) -> Callable[P, None]:
    """Deliberate errors become one line and their exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except PreflowError as error:
            Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"error: {error}")
            raise typer.Exit(error.exit_code) from error

    return guarded


def open_registry() -> Registry:
    from components.registry import Registry
    from flows.env import prepare

    prepare()
    return Registry()


def emit(value: Any) -> None:
    """JSON on stdout, nothing else."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


@app.command("list")
@deliberate
def list_models(
    name: Annotated[str, typer.Argument(help="one registered model; all of them if left out")] = "",
    as_json: Json = False,
) -> None:
    """Every version: aliases, verdict of its gate, objective.

    Examples: [bold]preflow models list[/] · [bold]preflow models list aligned-policy --json[/]
    """
    registry = open_registry()
    versions = [info for model in ([name] if name else registry.names()) for info in registry.versions(model)]
    if as_json:
        emit([asdict(info) for info in versions])
        return
    if not versions:
        console().print("The registry holds no model. `preflow run align` makes one.")
        return
    for model in sorted({info.name for info in versions}):
        table = _table("version", "aliases", "gate", "objective", "policy", "registered (UTC)", title=model)
        for info in (info for info in versions if info.name == model):
            row = (str(info.version), ", ".join(info.aliases), _gate(info), _objective(info), info.content_id[:12])
            table.add_row(*row, _utc(info.created)[:16])
        console().print(table)


@app.command()
@deliberate
def show(
    name: Name,
    version: Annotated[str, typer.Argument(help="a number or @alias; without it: the history of the model")] = "",
    as_json: Json = False,
) -> None:
    """One version with its gate and its tags, or the history of decisions on the model.

    Examples: [bold]preflow models show aligned-policy[/] · [bold]preflow models show aligned-policy @champion[/]
    """
    registry = open_registry()
    if not version:
        entries = registry.ledger(name)
        if as_json:
            emit([json.loads(entry.to_json()) for entry in entries])
        else:
            _print_history(name, entries)
        return
    info = registry.version(name, version)
    gate = json.loads(registry.read_text(info, "gate.json") or "null")
    if as_json:
        emit({**asdict(info), "gate_report": gate})
        return
    _print_version(info)
    if gate:
        _print_gate(gate)


@app.command()
@deliberate
def lineage(name: Name, version: Version = "@champion", as_json: Json = False) -> None:
    """How a version came about: a tree from the model down to the raw feedback.

    Example: [bold]preflow models lineage aligned-policy 3[/]
    """
    registry = open_registry()
    info = registry.version(name, version)
    ancestors = registry.lineage(name, info.version)
    if as_json:
        emit({"policy": info.content_id, "artifacts": ancestors})
        return
    tree = Tree(f"{info.name} version {info.version}{_in_brackets(', '.join(info.aliases))}")
    _grow(tree, info.content_id, "", ancestors, set())
    console().print(tree)


@app.command()
@deliberate
def promote(
    name: Name,
    version: Version,
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="although the gate refused it, or the alias was moved outside")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a version the champion and write down why.

    Example: [bold]preflow models promote aligned-policy 3 --reason "won the internal test"[/]
    """
    registry = open_registry()
    entry = registry.promote(name, version, by=getpass.getuser(), reason=reason, force=force)
    if entry is None:
        _done(as_json, None, f"{name} version {version} is the champion already: nothing changed.")
    else:
        _done(as_json, entry, f"{name}: champion {entry.before or 'none'} -> {entry.after}")


@app.command()
@deliberate
def rollback(name: Name, reason: Reason, as_json: Json = False) -> None:
    """Make the previous champion champion again and write down why.

    Example: [bold]preflow models rollback aligned-policy --reason "answers grew too long"[/]
    """
    entry = open_registry().rollback(name, by=getpass.getuser(), reason=reason)
    _done(as_json, entry, f"{name}: champion {entry.before} -> {entry.after}")


def _done(as_json: bool, entry: Entry | None, text: str) -> None:
    if as_json:
        emit(json.loads(entry.to_json()) if entry else None)
    else:
        console().print(text)


def _print_history(name: str, entries: list[Entry]) -> None:
    if not entries:
        console().print(f"{name}: no decision yet.")
        return
    table = _table("nr", "time (UTC)", "what happened", "by", "why")
    for entry in entries:
        before, after = entry.before or "none", entry.after
        if entry.moves:
            what = f"{entry.action}: {entry.alias} {before} -> {after}"
        else:
            what = f"{entry.action}: version {after} {'refused' if entry.action == 'refuse' else 'not promoted'}"
            what += f", {entry.alias} stays {before}"
        table.add_row(str(entry.seq), _utc(entry.time), what, entry.by, entry.reason)
    console().print(table)


def _print_version(info: VersionInfo) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    facts = {
        "model": f"{info.name} version {info.version}{_in_brackets(', '.join(info.aliases))}",
        "gate": _gate(info) + _in_brackets(info.tags.get("gate.reason", "")),
        "policy": info.content_id,
        "registered": info.created,
        "mlflow run": info.run_id,
    }
    for key, value in {**facts, **dict(sorted(info.tags.items()))}.items():
        table.add_row(key, value)
    console().print(table)


def _print_gate(gate: Mapping[str, Any]) -> None:
    table = _table("", "check", "why", title=f"gate: {gate['verdict']}")
    for row in gate["checks"]:
        table.add_row("pass" if row["ok"] else "FAIL", row["name"], row["reason"])
    for name in gate["skipped"]:
        table.add_row("skip", name, "the report compares with no champion")
    console().print(table)


def _grow(tree: Tree, oid: str, port: str, ancestors: Mapping[str, Mapping[str, Any]], seen: set[str]) -> None:
    """Add an artifact and, the first time it is met, what it was made from."""
    made = ancestors.get(oid, {"external": "artifact"})
    by = f"external {made['external']}" if "external" in made else made["component"]
    known = oid in seen
    branch = tree.add(f"{port + ': ' if port else ''}{by}  {oid[:12]}{' (see above)' if known else ''}")
    if known or "external" in made:
        return
    seen.add(oid)
    for name, ids in sorted(made["inputs"].items()):
        for parent in [ids] if isinstance(ids, str) else ids:
            _grow(branch, parent, name, ancestors, seen)


def _table(*columns: str, title: str | None = None) -> Table:
    """A table that breaks long texts rather than cutting them: what does not fit is never left out."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in _LONG)
    return table


_LONG = ("objective", "what happened", "check", "why")  # the columns that may wrap


def _utc(time: str) -> str:
    return time.removesuffix("+00:00").replace("T", " ")


def _gate(info: VersionInfo) -> str:
    overridden = ", overridden" if "gate.override" in info.tags else ""
    return f"{info.gate or 'none'}{overridden}"


def _objective(info: VersionInfo) -> str:
    knobs = {key.removeprefix("objective."): text for key, text in info.tags.items() if key.startswith("objective.")}
    name = knobs.pop("name", "")
    return " ".join([name, *(f"{key}={text}" for key, text in sorted(knobs.items()))])


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
