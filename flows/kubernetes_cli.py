"""`preflow k8s`: render, check, submit, sweep. Light to import: the client is loaded by the commands that need it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.console import Console

from components.errors import ParamsError, WiringError, nearest
from flows import env
from flows.catalogue import FLOWS
from flows.models_cli import deliberate

if TYPE_CHECKING:
    from flows.graph import Node
    from flows.kubernetes.runner import KubernetesRunner
    from flows.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
console = Console(highlight=False, markup=False)

Flow = Annotated[str, typer.Argument(help=", ".join(FLOWS))]
ClusterName = Annotated[str, typer.Option("--cluster", "-c", envvar="PREFLOW_CLUSTER", help="a file of k8s/profiles")]
ProfileName = Annotated[str, typer.Option("--profile", "-p", help="a file of flows/profiles")]
Raw = Annotated[str, typer.Option("--raw", help="file or folder of feedback, in place of the profile's")]
Overrides = Annotated[list[str], typer.Option("--set", "-s", metavar="SECTION.KEY=VALUE", help="override a parameter")]


def _settings(flow: str, cluster: str, profile: str, raw: str, overrides: list[str]) -> Settings:
    env.prepare()
    from flows.settings import load_settings

    return load_settings(flow, profile, raw, tuple(overrides), "kubernetes", cluster)


def _runner(settings: Settings) -> KubernetesRunner:
    from flows.kubernetes.runner import KubernetesRunner

    return KubernetesRunner(settings)


def _nodes(settings: Settings, step: str) -> list[Node]:
    graph, _ = settings.wire()
    if step and step not in graph.nodes:
        raise WiringError(f"flow {settings.flow}: no step '{step}'.{nearest(step, graph.nodes)}")
    return [node for name, node in graph.nodes.items() if step in ("", name)]


@app.command()
@deliberate
def render(
    flow: Flow,
    step: Annotated[str, typer.Argument(help="one step; all of them if left out")] = "",
    cluster: ClusterName = "",
    profile: ProfileName = "",
    raw: Raw = "",
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Print the Jobs of a flow as YAML. Contacts nothing; what is still to be made stands there by its name.

    Example: [bold]preflow k8s render align policy_optimization --cluster gpu-cluster[/]
    """
    settings = _settings(flow, cluster, profile, raw, overrides)
    runner = _runner(settings)
    from flows.kubernetes.render import render as documents
    from flows.runner import make_job

    for node in _nodes(settings, step):
        inputs = {port: [f"dvc:<{handle}>" for handle in handles] for port, handles in node.inputs.items()}
        job = make_job(node, settings, runner, "dvc:<params>", inputs, "0" * 32)
        for document in documents(job, runner.cluster, 1):
            typer.echo("---\n" + yaml.safe_dump(document, sort_keys=False, width=120), nl=False)


@app.command()
@deliberate
def check(cluster: ClusterName = "") -> None:
    """Would steps run on this cluster? Permissions, queue, remote, and a Job by server-side dry run. Makes nothing.

    Example: [bold]preflow k8s check --cluster kind[/]
    """
    from flows.doctor import show
    from flows.kubernetes.check import examine

    runner = _runner(_settings("align", cluster, "", "", []))
    raise typer.Exit(0 if show(examine(runner), console) else 2)


@app.command()
@deliberate
def submit(
    flow: Flow,
    step: Annotated[str, typer.Argument(help="the step to run; what it needs must have been made")],
    cluster: ClusterName = "",
    profile: ProfileName = "",
    raw: Raw = "",
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Run one step of a flow as a Job, without Prefect, and follow it here. Ctrl-C deletes the Job.

    Example: [bold]preflow k8s submit align reward_modeling --cluster kind[/]
    """
    settings = _settings(flow, cluster, profile, raw, overrides)
    (node,) = _nodes(settings, step)
    from flows.single import submit as run_one

    log = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{step}.log"
    record = run_one(settings, _runner(settings), node, log, lambda line: console.print(line, markup=False))
    for port, oid in record.outputs.items():
        typer.echo(f"{record.component} {port} {oid}")


@app.command()
@deliberate
def sweep(
    cluster: ClusterName = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, delete nothing")] = False,
) -> None:
    """Delete Jobs whose flow has died, and finished ones past their time. Safe to run at any moment, by anyone.

    Example: [bold]preflow k8s sweep --cluster gpu-cluster --dry-run[/]
    """
    env.prepare()
    from flows.kubernetes.api import Api
    from flows.kubernetes.cluster import load_cluster
    from flows.kubernetes.sweep import sweep as go

    if not cluster:
        raise ParamsError("--cluster: no cluster is named. Add --cluster NAME, a file of k8s/profiles.")
    chosen = load_cluster(cluster, Path.cwd(), runs_steps=False)
    count = 0
    for line in go(Api(chosen), chosen, dry_run=dry_run):
        console.print(line, markup=False)
        count += 1
    console.print(f"{count} Job(s) {'would be ' if dry_run else ''}deleted")
