"""The `preflow` command. Light to import: prefect, mlflow and torch are loaded by the commands that need them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.errors import PreflowError, UserError
from flows import env, kubernetes_cli, models_cli
from flows.catalogue import FLOWS, load_flow

app = typer.Typer(
    help="Human preference learning of language models: feedback in, gated and registered models out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(models_cli.app, name="models", help="The registry: versions, lineage, promotion, rollback.")
app.add_typer(kubernetes_cli.app, name="k8s", help="Jobs on a cluster: render, check, submit, sweep.")
console = Console(highlight=False, markup=False)  # texts of users and servers are printed as they are

Flow = Annotated[str, typer.Argument(help=", ".join(FLOWS))]
ProfileName = Annotated[str, typer.Option("--profile", "-p", help="a file of flows/profiles, for example hh")]
Raw = Annotated[str, typer.Option("--raw", help="file or folder of feedback, in place of the profile's")]
Overrides = Annotated[list[str], typer.Option("--set", "-s", metavar="SECTION.KEY=VALUE", help="override a parameter")]
RunnerName = Annotated[str, typer.Option("--runner", "-r", help="local or kubernetes; changes no result")]
Iterations = Annotated[int, typer.Option("--iterations", min=0, help="rounds of a loop (0: as the profile says)")]
ClusterName = Annotated[str, typer.Option("--cluster", envvar="PREFLOW_CLUSTER", help="a file of k8s/profiles")]


@app.command()
def run(
    flow: Flow,
    profile: ProfileName = "",
    raw: Raw = "",
    overrides: Overrides = [],  # noqa: B006  (typer reads the default, nobody changes it)
    runner: RunnerName = "",
    cluster: ClusterName = "",
    iterations: Iterations = 0,
    online: Annotated[bool, typer.Option(help="allow downloads of models named by hub id")] = False,
) -> None:
    """Run a flow here. Finished steps are kept: rerun after a crash and it goes on where it stopped.

    Examples: [bold]preflow run align[/] · [bold]preflow run align --profile hh[/] ·
    [bold]preflow run align -s policy_optimization.seed=1 -s policy_optimization.objective.beta=0.2[/] ·
    [bold]preflow run align --runner kubernetes --cluster gpu-cluster[/]
    """
    load_flow(flow)
    if online:
        os.environ["HF_HUB_OFFLINE"] = "0"
    env.prepare()
    from flows.base import describe_base
    from flows.runners import open_runner
    from flows.server import alive, driver_tag, prefect_api
    from flows.settings import load_settings

    settings = load_settings(flow, profile, raw, tuple(overrides), runner, cluster, iterations)
    graph, _ = settings.wire()  # mistakes before anything is started
    for line in describe_base(graph, settings.params):
        console.print(line)
    open_runner(settings)
    with prefect_api():
        from prefect import tags
        from prefect.exceptions import CancelledRun

        from flows import deployed
        from flows.run_folder import mark_interrupted

        mark_interrupted(Path("runs"), alive)
        where: dict[str, Any] = {"runner": settings.runner, "cluster": settings.cluster}
        where |= {"iterations": iterations} if iterations else {}
        try:
            with tags(driver_tag()):
                table = getattr(deployed, flow)(profile=profile, raw=raw, overrides=tuple(overrides), **where)
        except CancelledRun as error:
            raise UserError(f"{flow}: the run was cancelled. Run it again: finished steps are kept.") from error
    _print_table(f"{flow}: outcome", table)
    console.print("Dashboards: `preflow ui` serves Prefect (http://127.0.0.1:4200) and MLflow (http://127.0.0.1:5000)")


def _print_table(title: str, rows: dict[str, str]) -> None:
    table = Table(title=title, title_justify="left", show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


@app.command()
def plan(
    flow: Flow,
    profile: ProfileName = "",
    raw: Raw = "",
    overrides: Overrides = [],  # noqa: B006
    runner: RunnerName = "",
    cluster: ClusterName = "",
    iterations: Iterations = 0,
) -> None:
    """Show what a run would do: each step cached or not and why, and what it needs. Runs nothing.

    With the runner kubernetes the API server is asked about every Job (a dry run with strict validation).
    """
    load_flow(flow)
    env.prepare()
    from flows.base import describe_base
    from flows.plan import make_plan
    from flows.settings import load_settings

    settings = load_settings(flow, profile, raw, tuple(overrides), runner, cluster, iterations)
    for line in describe_base(settings.wire()[0], settings.params):
        console.print(line)
    steps = make_plan(settings).steps
    table = Table(title=f"{flow}: plan, runner {settings.where}", title_justify="left")
    for heading in ("step", "action", "why", "resources"):
        table.add_column(heading, no_wrap=heading in ("step", "action"), overflow="fold")
    if settings.cluster:
        table.add_column("Job", min_width=len("runs already"), overflow="fold")  # whole words, however long the names
    colours = {"cached": "blue", "runs": "green", "depends": "yellow"}
    for step in steps:
        action = Text(step.action, style=colours[step.action])
        table.add_row(step.step, action, step.why, step.resources, *([step.job] if settings.cluster else []))
    console.print(table)
    if any(step.job not in ("", "accepted", "runs already") for step in steps):
        raise UserError("plan: the cluster refuses a Job (see the table). Change the profile, then plan again.")


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="for Prefect; another free one is taken if it is in use")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="for MLflow; likewise")] = 5000,
) -> None:
    """Serve Prefect's dashboard and MLflow's on the embedded stores, until Ctrl-C."""
    from flows.ui import serve_ui

    serve_ui(port, mlflow_port, lambda line: console.print(line))


@app.command("add-feedback")
def add_feedback(
    file: Annotated[Path, typer.Argument(help="feedback in a known format (docs/importers.md)")],
    inbox: Annotated[Path, typer.Option(help="the folder that retraining reads")] = Path("data/inbox"),
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="the profile under which retraining reads it")
    ] = "own",
) -> None:
    """Look at a file of feedback, put it into the inbox, and tell the server, so that retraining starts.

    A file that retraining could not read is refused with the reason. What was found in it is printed.
    """
    env.prepare()
    from flows.inbox import add_feedback as add
    from flows.inbox import announce, reading
    from flows.server import configured_api

    added = add(file, inbox, reading(profile))
    for line in added.found:
        console.print(line)
    console.print(f"{'was there already' if added.was_there else 'added'}: {added.path}", soft_wrap=True)
    if url := configured_api():
        announce(inbox)
        console.print(f"told {url}")
    else:
        note = f"No server is running: the next `preflow run retrain --raw {inbox}` will use it."
        console.print(note, soft_wrap=True)


@app.command()
def selftest(
    names: Annotated[list[str], typer.Argument(help="faults of docs/silent_bugs.md (none: all of them)")] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="print the outcomes as JSON")] = False,
) -> None:
    """Plant faults into a small clean project and see whether each is named before training. Exit code 1 if one is not.

    Needs no data of yours and changes nothing here. Faults that nothing names yet are listed as known gaps.
    """
    env.prepare()
    from flows.selftest import examine, show

    raise typer.Exit(0 if show(examine(names, console), console, as_json) else 1)


@app.command()
def doctor() -> None:
    """Check this machine and this project; every problem comes with its remedy."""
    env.prepare()
    from flows.doctor import examine, show

    raise typer.Exit(0 if show(examine(), console) else 2)


def main() -> None:
    """Entry point: deliberate errors become one line and their exit code."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except PreflowError as error:
        Console(stderr=True, highlight=False, markup=False).print(f"error: {error}", soft_wrap=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
