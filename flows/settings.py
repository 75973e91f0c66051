"""What a run is made of: the project's params.yaml, a profile over it, and the user's overrides over both."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from components.contract.params import assignment, build, dump, merge, parse_assignment, read_params_file
from components.contract.spec import load_params_class, load_spec
from components.errors import ArtifactError, ParamsError, WiringError, nearest
from components.judges import JUDGES
from flows.base import check_base, check_held_out, pin_revision
from flows.catalogue import flow_graph, load_flow, section_components
from flows.graph import Graph, Handle, Node
from flows.profile import Layout, Profile, load_profile

SHARED = "shared"  # the section of params.yaml that holds blocks for others to alias; no step reads it


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a flow run does. Paths are relative to the project folder."""

    flow: str
    profile_name: str
    profile: Profile
    params: dict[str, Any]
    raw: str
    overridden: bool
    iterations: int = Profile.iterations
    runner: Literal["local", "kubernetes"] = "local"
    cluster: str = ""

    @property
    def where(self) -> str:
        """Where steps run, for people."""
        return f"{self.runner} ({self.cluster})" if self.cluster else self.runner

    @property
    def workspace(self) -> Path:
        """Where this flow's outputs lie; its dvc.yaml uses the same folder for the default profile."""
        return Path("artifacts") / "-".join(filter(None, [self.flow, self.profile_name]))

    def output(self, step: str, port: str) -> Path:
        return self.workspace / step / port

    def section(self, node: Node) -> dict[str, Any]:
        """The resolved parameters of a step as its identity holds them: every field but those that say how it is
        carried out."""
        if node.section not in self.params:
            raise ParamsError(
                f"params.yaml: no section '{node.section}'. Add it (see `python -m components show {node.spec.name}`)."
            )
        cls = load_params_class(node.spec)
        resolved = dump(build(cls, self.params[node.section], f"params.{node.section}"), execution=False)
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

    def judges(self) -> dict[str, Handle]:
        """The policy that judges, by section whose judge is one. Raises ArtifactError if it is not there."""
        asking = [name for name, values in self.params.items() if _asks_a_policy(values)]
        if not asking or not self.profile.judge:
            return {}
        path = Path(os.path.expandvars(self.profile.judge))
        if not path.exists():
            raise ArtifactError(f"judge: {path} does not exist. Name a policy's folder in the profile, as `judge`.")
        return dict.fromkeys(asking, Graph.external("policy", path))

    def wire(self, champion: Handle | None = None) -> tuple[Graph, Node]:
        """The graph of this run and its last step.

        Raises WiringError, and ParamsError where steps ask for lengths or layers that the models do not have.
        """
        asked = self.profile
        judges = self.judges()
        layout = Layout(self.raw_feedback(), asked.feedback, asked.witnesses, self.iterations, champion, judges)
        graph, last = flow_graph(self.flow, layout)
        for node in graph.nodes.values():
            if node.section not in judges and _asks_a_policy(self.params.get(node.section)):
                raise WiringError(
                    f"step {node.name}: its judge is a policy, and the profile names none (got judge ''). Write "
                    "judge: FOLDER into a file of flows/profiles."
                )
        check_base(graph, self.params)
        check_held_out(graph, self.params)
        return graph, last


def _asks_a_policy(values: Any) -> bool:
    """Whether the judge that a section chooses is a policy, an input of its step."""
    chosen = values.get("judge") if isinstance(values, dict) else None
    row = JUDGES.rows.get(chosen["name"]) if isinstance(chosen, dict) and "name" in chosen else None
    return row is not None and "model" in row.facts.get("inputs", ())


def load_settings(
    flow: str,
    profile: str = "",
    raw: str = "",
    overrides: tuple[str, ...] = (),
    runner: str = "",
    cluster: str = "",
    iterations: int = 0,
) -> Settings:
    """params.yaml of the current folder, the profile over it, `--set` over both. Raises ParamsError.

    `runner` and `cluster` say where steps run, in place of what the profile says; they change no result. `iterations`
    (of a flow that loops) is the profile's where it is 0.
    """
    if iterations and not load_flow(flow).loops:
        raise ParamsError(f"--iterations {iterations}: the flow {flow} goes round once. Leave it out.")
    chosen = load_profile(profile)
    params = read_params_file(Path("params.yaml"))
    params.pop(SHARED, None)
    readers = section_components()
    for section, values in chosen.params.items():
        _known(f"profile {profile}", section, params)
        params[section] = _over(readers, section, params[section], values)
    for text in overrides:
        keys, value = parse_assignment(text)
        _known(f"--set {text}", keys[0], params)
        if len(keys) < 2:
            raise ParamsError(f"--set {text}: names no key of {keys[0]}. Write SECTION.KEY=VALUE.")
        params[keys[0]] = _over(readers, keys[0], params[keys[0]], assignment(keys[1:], value))
    for section, values in params.items():  # every mistake is named now, before anything runs
        if section in readers:
            build(load_params_class(load_spec(readers[section])), values, f"params.{section}")
    pinned = pin_revision(params)
    os.environ.setdefault("PREFLOW_DATA_DIR", "../shared/data")
    return Settings(
        flow=flow,
        profile_name=profile,
        profile=chosen,
        params=params,
        raw=raw or os.path.expandvars(chosen.raw),
        overridden=bool(overrides or raw or iterations or pinned),
        iterations=iterations or chosen.iterations,
        **_where(runner or chosen.runner, cluster or chosen.cluster),
    )


def _known(where: str, section: str, params: dict[str, Any]) -> None:
    if section == SHARED:
        raise ParamsError(f"{where}: blocks of '{SHARED}' are copied when params.yaml is read. Set the step's own key.")
    if section not in params:
        raise ParamsError(f"{where}: no section '{section}' in params.yaml.{nearest(section, params)}")


def _over(readers: dict[str, str], section: str, base: Any, overlay: Any) -> dict[str, Any]:
    for where, values in (("params.yaml", base), ("what is laid over it", overlay)):
        if not isinstance(values, (dict, type(None))):
            what = f"must be a mapping of parameters (got {values!r} in {where})"
            raise ParamsError(f"{section}: {what}. Write key: value lines.")
    cls = load_params_class(load_spec(readers[section])) if section in readers else None
    return merge(cls, base or {}, overlay or {})


RUNNERS = get_args(Literal["local", "kubernetes"])


def _where(runner: str, cluster: str) -> dict[str, Any]:
    if runner not in RUNNERS:
        raise ParamsError(f"--runner {runner}: no such runner.{nearest(runner, RUNNERS)}")
    if runner == "kubernetes" and not cluster:
        raise ParamsError("--runner kubernetes: no cluster is named. Add --cluster NAME, a file of k8s/profiles.")
    return {"runner": runner, "cluster": cluster if runner == "kubernetes" else ""}


def write_params(settings: Settings, path: Path) -> None:
    """The resolved parameters of a run as one YAML file, every block written out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.dump(settings.params, Dumper=_WrittenOut, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


class _WrittenOut(yaml.SafeDumper):
    """Safe YAML without aliases, whatever blocks the sections share."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
