"""What Prefect runs: one function per flow, which deployments name (`flows.deployed.align`)."""

from __future__ import annotations

from prefect import flow

from flows.champion import fetch_champion
from flows.outcome import cancellable, open_run
from flows.settings import load_settings


@flow(name="align")
@cancellable
def align(
    profile: str = "", raw: str = "", overrides: tuple[str, ...] = (), runner: str = "", cluster: str = ""
) -> dict[str, str]:
    """Feedback -> reward model -> policy -> evaluation -> gate -> registered (or refused) model version.

    profile: a file of flows/profiles (empty: the quickstart). raw: a file or folder of feedback in a known format.
    overrides: "section.key=value" over params.yaml. runner: local, or kubernetes with cluster: a file of k8s/profiles.
    """
    with open_run(load_settings("align", profile, raw, tuple(overrides), runner, cluster)) as run:
        run.finish(run.wire())
        return run.conclude()


@flow(name="retrain")
@cancellable
def retrain(
    profile: str = "", raw: str = "", overrides: tuple[str, ...] = (), runner: str = "", cluster: str = ""
) -> dict[str, str]:
    """Train a challenger on today's feedback, compare it with the champion, promote it if the gate passes.

    Costs next to nothing when nothing is new: every step is a cache hit and the champion stays.
    """
    with open_run(load_settings("retrain", profile, raw, tuple(overrides), runner, cluster)) as run:
        challenger = run.until(run.wire().inputs["policy"][0])
        champion = fetch_champion(run.settings, run.runner)  # as late as can be: another run may have promoted one
        if champion is not None and run.known.artifact(champion).id == challenger.id:
            return run.conclude("nothing new: this feedback and these parameters make the champion again")
        run.finish(run.wire(champion))
        return run.conclude()


@flow(name="online_alignment")
@cancellable
def online_alignment(
    profile: str = "",
    raw: str = "",
    overrides: tuple[str, ...] = (),
    runner: str = "",
    cluster: str = "",
    iterations: int = 0,
) -> dict[str, str]:
    """A policy that learns from the best of its own answers, round by round, scored by the reward model of `align`.

    iterations: how many rounds (0: what the profile says, else 2).
    """
    settings = load_settings("online_alignment", profile, raw, tuple(overrides), runner, cluster, iterations)
    with open_run(settings) as run:
        run.finish(run.wire())
        return run.conclude()
