"""The kinds of preference models: pure functions of what was read off texts (see `table`). Sizes: N texts, D values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from components.contract.ranges import NonNegative, Positive
from components.preference_models.table import PREFERENCE_MODELS

if TYPE_CHECKING:
    from torch import Tensor


@PREFERENCE_MODELS.row(method="RM-01", reads="last", source="Bradley and Terry 1952; Ouyang et al. 2022, InstructGPT")
def scalar(values: Tensor) -> Tensor:
    """One value at the last token is the reward: P(a preferred) = sigmoid(r_a - r_b).

    values: [N, 1]; returns [N]. On disk it is what transformers calls a sequence classifier with one label, so that
    other tools can read it.
    """
    return values[..., 0]


@PREFERENCE_MODELS.row(method="RM-31", reads="every", source="Li et al. 2024, Themis (pooling by the mean)")
def scalar_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the completion's tokens of one value each is the reward.

    values: [N, T, 1]; mask: [N, T] of {0, 1}; returns [N]. An empty completion cannot occur: each one holds its EOS.
    """
    return (values[..., 0] * mask).sum(-1) / mask.sum(-1)


@PREFERENCE_MODELS.row(
    method="RM-12",
    reads="segments",
    source="Wu et al. 2023, Fine-Grained RLHF (rewards at the ends of segments, summed)",
    status="experimental",
    departures="One value per segment, learned from preferences; the paper fits a classifier on labels per segment. "
    "No view gives segments yet: without them it is `scalar`.",
)
def scalar_segments(values: Tensor, mask: Tensor) -> Tensor:
    """The sum over the segments of a completion of one value at the end of each is the reward.

    values: [N, S, 1]; mask: [N, S] of {0, 1}; returns [N].
    """
    return (values[..., 0] * mask).sum(-1)


@PREFERENCE_MODELS.row(
    method="RM-38",
    reads="last",
    source="Zhang et al. 2024, General Preference Modeling with Preference Representations",
    equation="logit = sum_j (a_2j b_2j+1 - a_2j+1 b_2j) / temperature",
    departures="Every block has weight 1: one per block can go into the head; a head on the prompt is not built.",
)
def gpm(first: Tensor, second: Tensor, *, width: Literal[2, 4, 6, 8] = 2, temperature: Positive = 0.1) -> Tensor:
    """A skew-symmetric pairing of vectors at the last token: it can hold preferences that go round in circles.

    first, second: [N, width]; returns [N]. With vectors (r, 1) and temperature 1 it is the difference of scores. Any
    preferences among n texts fit a width of 2 floor(n / 2). Only pairs have a meaning: there is no score.
    """
    turned = first[..., 0::2] * second[..., 1::2] - first[..., 1::2] * second[..., 0::2]
    return turned.sum(-1) / temperature


@PREFERENCE_MODELS.row(method="RM-21", reads="members", source="Christiano et al. 2017; Coste et al. 2023")
def mean_of_members(values: Tensor) -> Tensor:
    """The mean of the members' scores, each in its own standard units.

    values: [N, M]; returns [N].
    """
    return values.mean(-1)


@PREFERENCE_MODELS.row(method="RM-21", reads="members", source="Coste et al. 2023 (worst-case optimisation)")
def worst_of_members(values: Tensor) -> Tensor:
    """The lowest of the members' scores: a text that one of them doubts is not trusted.

    values: [N, M]; returns [N].
    """
    return values.amin(-1)


@PREFERENCE_MODELS.row(method="RM-21", reads="members", source="Coste et al. 2023 (uncertainty-weighted optimisation)")
def mean_less_variance(values: Tensor, *, weight: NonNegative = 0.5) -> Tensor:
    """The mean of the members' scores less `weight` times their variance (of the population, not the sample).

    values: [N, M]; returns [N].
    """
    return values.mean(-1) - weight * values.var(-1, correction=0)
