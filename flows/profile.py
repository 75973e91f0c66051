"""Named ways to run a flow (`flows/profiles/NAME.yaml`), and what of them decides the shape of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from components.contract.params import build, read_params_file
from components.contract.ranges import Count, Whole
from components.errors import ParamsError, nearest
from flows.graph import Handle

PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Profile:
    """A named way to run a flow: `flows/profiles/<name>.yaml`."""

    summary: str = ""
    """One line for people."""
    raw: str = ""
    """Folder or file of raw feedback in place of the simulated one; $VARIABLES are filled in."""
    feedback: tuple[str, ...] = ("human_feedback", "llm_feedback", "heuristic_feedback")
    """Components whose feedback goes into the data set: any component that makes feedback of what is there by then."""
    witnesses: tuple[str, ...] = ("scoring", "llm_feedback")
    """Components that say in the evaluation who is better: the preference model (scoring), a judge (llm_feedback)."""
    judge: str = ""
    """Folder of the policy that judges in every section of params.yaml whose judge is one; $VARIABLES are filled in."""
    iterations: Count = 2
    """How often a loop goes round."""
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters over params.yaml, section by section. Those of execution (checkpoint_every) belong here, too."""
    runner: Literal["local", "kubernetes"] = "local"
    """Where steps run: subprocesses of this machine, or Jobs of a cluster."""
    cluster: str = ""
    """Which cluster: a file of k8s/profiles (runner kubernetes)."""
    at_once: Whole = 0
    """Most steps that run at the same time on this machine; 0: as many as its cores have room for. Never two on a GPU;
    where memory is short, write 1."""
    retries: int = 2
    """How often a crashed step is tried again (a user mistake or bad data never is)."""
    retry_delay: float = 5.0
    """Seconds before a retry."""


@dataclass(frozen=True)
class Layout:
    """What decides which steps a flow has; everything else about a run is a parameter of a step."""

    raw: Handle | None = None
    """The feedback of people that comes from outside; None: it is simulated."""
    feedback: tuple[str, ...] = Profile.feedback
    """See Profile."""
    witnesses: tuple[str, ...] = Profile.witnesses
    """See Profile."""
    iterations: int = Profile.iterations
    """See Profile."""
    champion: Handle | None = None
    """The policy to beat, where there is one."""
    judges: Mapping[str, Handle] = field(default_factory=dict)
    """The policies that judge, by the section of params.yaml that says so."""


def profile_names() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """A profile by name; the empty name is the default. Raises ParamsError."""
    if not name:
        return Profile()
    if name not in profile_names():
        raise ParamsError(f"profile '{name}': no such profile.{nearest(name, profile_names())}")
    return build(Profile, read_params_file(PROFILES / f"{name}.yaml"), f"profile {name}")
