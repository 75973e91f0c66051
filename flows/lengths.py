"""Whether the lengths that the steps of a flow ask for fit together and into the models, before anything runs.

A row of prompt and answer has as many tokens as its curation lets through (`tokens.max_length`), and never more than
the model's positions; who reads the data set later must take all of them. Who answers its prompts needs room for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.errors import ParamsError
from components.model_files.positions import check_new_tokens, positions
from flows.graph import EXTERNAL, Graph, Handle, Node


@dataclass(frozen=True)
class Base:
    """What is known of the positions of the model that a run starts from: `limit` None means that it has no limit, or,
    if it is not `known`, that nobody can say yet."""

    limit: int | None = None
    known: bool = True


@dataclass(frozen=True)
class Curated:
    """A data set to come: its section of params.yaml, and the most tokens of its rows and of answers to its prompts."""

    section: str
    rows: int
    answers: int

    def prompt(self, base: Base) -> int | None:
        """Most tokens of a test prompt; None as long as the model's positions are not known."""
        if not base.known:
            return None
        return self.rows - 1 if base.limit is None else min(self.rows - 1, base.limit - self.answers)


def check_lengths(graph: Graph, params: Mapping[str, Any], base: Base) -> None:
    """Raise ParamsError for the first step whose lengths do not fit its data set, or the model that it uses."""
    for node in graph.nodes.values():
        section = params.get(node.section) or {}
        for where, value, limit in _answers(node, section, base):
            if limit is not None:
                check_new_tokens(limit, value, where)
        for handle in (handle for handles in node.inputs.values() for handle in handles):
            data = curated(graph, params, handle, base)
            if data is not None:
                _check_rows(node, section, data)
                _check_prompts(node, section, data, base)


def describe_lengths(graph: Graph, params: Mapping[str, Any], base: Base) -> str:
    """One line on the rows of each data set that the model's positions make shorter than `max_length`; else empty."""
    found = {}
    for node in graph.nodes.values():
        tokens = (params.get(node.section) or {}).get("tokens")
        if isinstance(tokens, Mapping) and base.limit is not None and base.limit < tokens.get("max_length", 0):
            room = base.limit - tokens.get("max_new_tokens", 0)
            found[node.section] = f"{node.section} keeps rows of up to {base.limit} and test prompts of up to {room}"
    return f"the model has {base.limit} positions: {'; '.join(found.values())} tokens" if found else ""


def curated(graph: Graph, params: Mapping[str, Any], handle: Handle, base: Base) -> Curated | None:
    """The data set that a handle stands for, if a step of this flow curates it."""
    maker = graph.nodes.get(handle.step)
    tokens = (params.get(maker.section) or {}).get("tokens") if maker is not None else None
    if maker is None or handle.type != "dataset" or not isinstance(tokens, Mapping) or "max_length" not in tokens:
        return None
    rows = tokens["max_length"] if base.limit is None else min(tokens["max_length"], base.limit)
    return Curated(maker.section, rows, tokens.get("max_new_tokens", 0))


def _answers(node: Node, section: Mapping[str, Any], base: Base) -> Iterator[tuple[str, int, int | None]]:
    """(parameter, most tokens of an answer, positions of the model that gives it) of a step that generates."""
    for block, key in (("sampler", "max_new_tokens"), ("judge", "max_tokens"), ("tokens", "max_new_tokens")):
        values = section.get(block)
        if isinstance(values, Mapping) and key in values:
            for policy in _policies(node):
                yield f"{node.section}.{block}.{key}", values[key], _limit(policy, base)


def _policies(node: Node) -> list[Handle]:
    return [handle for handles in node.inputs.values() for handle in handles if handle.type == "policy"]


def _limit(policy: Handle, base: Base) -> int | None:
    """Positions of a policy: those of the base where this flow makes it, else as its own folder says, if it is here."""
    if policy.step != EXTERNAL:
        return base.limit
    return None if policy.path is None else positions(policy.path)


def _check_rows(node: Node, section: Mapping[str, Any], data: Curated) -> None:
    """Everybody who reads a data set takes its longest row."""
    asked = section.get("max_length")
    if asked is not None and asked < data.rows:
        raise ParamsError(
            f"{node.section}.max_length: {data.section} lets longer rows through, which this step would refuse (got "
            f"{asked} < {data.rows} tokens). Raise it, or set {data.section}.tokens.max_length={asked}, too."
        )


def _check_prompts(node: Node, section: Mapping[str, Any], data: Curated, base: Base) -> None:
    """Every prompt that curation keeps for the test leaves room for the answers that are sampled."""
    new = (section.get("sampler") or {}).get("max_new_tokens", 0)
    longest = data.prompt(base)
    for policy in _policies(node):
        if policy.step == EXTERNAL:
            _check_foreign(node, policy, data, new, longest)
        elif new > data.answers if longest is None else base.limit is not None and longest + new > base.limit:
            raise ParamsError(
                f"{node.section}.sampler.max_new_tokens: {data.section} keeps test prompts that leave room for shorter "
                f"answers only (got {new}, room for {data.answers}). Set {data.section}.tokens.max_new_tokens={new}, "
                "too, or lower it."
            )


def _check_foreign(node: Node, policy: Handle, data: Curated, new: int, longest: int | None) -> None:
    """A policy from elsewhere reads what was curated for the base model: every row, and every prompt with an answer."""
    limit = None if policy.path is None else positions(policy.path)
    needed = max(data.rows, (data.rows - 1 if longest is None else longest) + new)
    if limit is not None and limit < needed:
        raise ParamsError(
            f"step {node.name}: the model of {policy} has fewer positions than rows of {data.section}, or prompts with "
            f"their answers, may have tokens (got {limit} < {needed}). Set {data.section}.tokens.max_length="
            f"{limit - max(new - 1, 0)}, or compare with another model."
        )
