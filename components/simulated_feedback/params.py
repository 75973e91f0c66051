"""Parameters of simulated_feedback."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.errors import ParamsError


@dataclass(frozen=True)
class Writers:
    """Who writes the answers. Each answer's writer has a quality drawn uniformly between the two bounds."""

    lowest_quality: float = 0.2
    """quality of the worst writer, in [0, 1]"""
    highest_quality: float = 1.0
    """quality of the best writer, in [0, 1]; 1 makes no mistakes"""

    def check(self) -> None:
        if not 0.0 <= self.lowest_quality < self.highest_quality <= 1.0:
            raise ParamsError(
                "lowest_quality: must be below highest_quality, both in [0, 1] "
                f"(got {self.lowest_quality}, {self.highest_quality}). Set 0 <= lowest < highest <= 1."
            )


@dataclass(frozen=True)
class Panel:
    """The annotators (SRC-04); see components/simulation/annotators.py for the formulas."""

    size: int = 12
    """how many annotators there are"""
    careless: int = 1
    """how many of them choose almost without looking"""
    rationality: float = 1.5
    """beta: how sharply choices follow the true utility (differs by annotator around this value)"""
    lapse: float = 0.05
    """share of decisions taken without looking"""
    position_bias: float = 0.2
    """added to the logit of the answer that is shown first"""
    length_bias: float = 0.02
    """added to the logit per word that an answer is longer"""
    tie_band: float = 0.3
    """Rao-Kupper eta: how close two answers must be to be called a tie; 0 means never"""
    label_noise: float = 0.0
    """share of decisions that get flipped, at most 0.5"""


@dataclass(frozen=True)
class Params:
    n_prompts: int = 3000
    """distinct prompts, one pair of answers each"""
    votes_per_pair: int = 3
    """annotators who compare each pair"""
    flip: float = 0.0
    """share of votes that are inverted; 1 inverts every vote, to see that bad labels get refused"""
    writers: Writers = field(default_factory=Writers)
    """who writes the answers"""
    panel: Panel = field(default_factory=Panel)
    """who compares them"""
    seed: int = 0
    """prompts, answers, annotators and votes all follow from it"""

    def check(self) -> None:
        if self.n_prompts < 1:
            raise ParamsError(f"n_prompts: must be at least 1 (got {self.n_prompts}). Ask for more prompts.")
        if not 1 <= self.votes_per_pair <= self.panel.size:
            raise ParamsError(
                f"votes_per_pair: must be between 1 and panel.size {self.panel.size} (got {self.votes_per_pair}). "
                "An annotator votes once per pair: enlarge the panel or lower the votes."
            )
        if not 0.0 <= self.flip <= 1.0:
            raise ParamsError(f"flip: must be in [0, 1] (got {self.flip}). Give a share.")
