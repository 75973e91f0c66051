"""What a run is made of: the project's params.yaml, a profile over it, and the user's overrides over both."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from components.contract.params import assignment, build, dump, merge, parse_assignment, read_params_file
from components.contract.spec import Spec, all_specs, load_params_class, load_spec
from components.errors import ArtifactError, ParamsError, nearest
from flows.base import check_base, pin_revision
from flows.graph import Graph, Handle

PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Profile:
    """A named way to run a flow: `flows/profiles/<name>.yaml`."""

    summary: str = ""
    """One line for people."""
    raw: str = ""
    """Folder or file of raw feedback in place of the simulated one; $VARIABLES are filled in."""
    sources: tuple[Literal["human", "llm", "heuristic"], ...] = ("human", "llm", "heuristic")
    """Which kinds of feedback go into the data set."""
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters over params.yaml, step by step (they are part of every step's identity)."""
    runner: Literal["local", "kubernetes"] = "local"
    """Where steps run: subprocesses of this machine, or Jobs of a cluster."""
    cluster: str = ""
    """Which cluster: a file of k8s/profiles (runner kubernetes)."""
    retries: int = 2
    """How often a crashed step is tried again (a user mistake or bad data never is)."""
    retry_delay: float = 5.0
    """Seconds before a retry."""


def profile_names() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """A profile by name; the empty name is the default. Raises ParamsError."""
    if not name:
        return Profile()
    if name not in profile_names():
        raise ParamsError(f"profile '{name}': no such profile.{nearest(name, profile_names())}")
    return build(Profile, read_params_file(PROFILES / f"{name}.yaml"), f"profile {name}")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a flow run does. Paths are relative to the project folder."""

    flow: str
    profile_name: str
    profile: Profile
    params: dict[str, Any]
    raw: str
    overridden: bool
    runner: Literal["local", "kubernetes"] = "local"
    cluster: str = ""

    @property
    def where(self) -> str:
        """Where steps run, for people."""
        return f"{self.runner} ({self.cluster})" if self.cluster else self.runner

    @property
    def workspace(self) -> Path:
        """Where this flow's outputs lie; `dvc.yaml` uses the same folder for the default profile of `align`."""
        return Path("artifacts") / "-".join(filter(None, [self.flow, self.profile_name]))

    def output(self, step: str, port: str) -> Path:
        return self.workspace / step / port

    def section(self, step: str, spec: Spec) -> dict[str, Any]:
        """The resolved parameters of a step as its identity holds them: every field but those that say how it is
        carried out."""
        if step not in self.params:
            raise ParamsError(
                f"params.yaml: no section '{step}'. Add it (see `python -m components show {spec.name}`)."
            )
        resolved = dump(build(load_params_class(spec), self.params[step], f"params.{step}"), execution=False)
        assert isinstance(resolved, dict)
        return resolved

    def raw_feedback(self) -> Handle | None:
        """The external feedback this run is about; None when it is simulated."""
        if not self.raw:
            return None
        path = Path(self.raw)
        if not path.exists():
            raise ArtifactError(
                f"raw feedback: {path} does not exist. Pass --raw PATH, or set PREFLOW_DATA_DIR to the data folder."
            )
        return Graph.external("raw_feedback", path)


def load_settings(
    flow: str, profile: str = "", raw: str = "", overrides: tuple[str, ...] = (), runner: str = "", cluster: str = ""
) -> Settings:
    """params.yaml of the current folder, the profile over it, `--set` over both. Raises ParamsError.

    `runner` and `cluster` say where steps run, in place of what the profile says; they change no result.
    """
    chosen = load_profile(profile)
    params = read_params_file(Path("params.yaml"))
    for section in chosen.params:
        if section not in params:
            raise ParamsError(f"profile {profile}: no section '{section}' in params.yaml.{nearest(section, params)}")
    params = {**params, **{name: _over(name, params[name], values) for name, values in chosen.params.items()}}
    for text in overrides:
        keys, value = parse_assignment(text)
        if keys[0] not in params or len(keys) < 2:
            raise ParamsError(f"--set {text}: no step '{keys[0]}'.{nearest(keys[0], params)} Write STEP.KEY=VALUE.")
        params[keys[0]] = _over(keys[0], params[keys[0]], assignment(keys[1:], value))
    for section, values in params.items():  # every mistake is named now, before anything runs
        if section in all_specs():
            build(load_params_class(load_spec(section)), values, f"params.{section}")
    pinned = pin_revision(params)
    check_base(params)
    os.environ.setdefault("PREFLOW_DATA_DIR", "../shared/data")
    return Settings(
        flow=flow,
        profile_name=profile,
        profile=chosen,
        params=params,
        raw=raw or os.path.expandvars(chosen.raw),
        overridden=bool(overrides or raw or pinned),
        **_where(runner or chosen.runner, cluster or chosen.cluster),
    )


def _over(section: str, base: dict[str, Any] | None, overlay: dict[str, Any] | None) -> dict[str, Any]:
    cls = load_params_class(load_spec(section)) if section in all_specs() else None
    return merge(cls, base or {}, overlay or {})


RUNNERS = get_args(Literal["local", "kubernetes"])


def _where(runner: str, cluster: str) -> dict[str, Any]:
    if runner not in RUNNERS:
        raise ParamsError(f"--runner {runner}: no such runner.{nearest(runner, RUNNERS)}")
    if runner == "kubernetes" and not cluster:
        raise ParamsError("--runner kubernetes: no cluster is named. Add --cluster NAME, a file of k8s/profiles.")
    return {"runner": runner, "cluster": cluster if runner == "kubernetes" else ""}


def write_params(settings: Settings, path: Path) -> None:
    """The resolved parameters of a run as one YAML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings.params, sort_keys=False, allow_unicode=True), encoding="utf-8")
