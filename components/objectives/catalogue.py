"""The table of objectives, and how a parameter becomes a bound function.

To add one: a pure function in the file of its family, a row here, and a hand-worked value in the tests.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from components.contract import Choice
from components.errors import ParamsError, nearest
from components.objectives.demonstration import sft
from components.objectives.pairwise import dpo, ipo, ipo_sum
from components.objectives.reference_free import orpo
from components.objectives.reward import bradley_terry, bradley_terry_margin, bradley_terry_soft
from components.objectives.rows import FAMILIES, NONNEGATIVE, POSITIVE, Reduction, Row, decreases, increases
from components.objectives.unpaired import kto

CATALOGUE: dict[str, Row] = {
    "sft": Row(
        sft,
        family="demonstration",
        method="PO-70",
        paper="maximum likelihood on demonstrations",
        equation="-S / n",
        claims=(decreases("completion_logps"),),
        departures="Rows are averaged (each row by its own token mean), not tokens: a long answer weighs no more.",
    ),
    "dpo": Row(
        dpo,
        family="pair",
        method="PO-01",
        paper="Rafailov et al. 2023, Direct Preference Optimization, eq. 7",
        equation="-log sigmoid(beta h)",
        ranges={"beta": POSITIVE},
        claims=(
            decreases("chosen_logps", "rejected_ref_logps"),
            increases("rejected_logps", "chosen_ref_logps"),
            Reduction(
                "bradley_terry",
                knobs={"beta": 1.0},
                given={"chosen_ref_logps": 0.0, "rejected_ref_logps": 0.0},
                rename={"chosen_scores": "chosen_logps", "rejected_scores": "rejected_logps"},
            ),
        ),
    ),
    "ipo": Row(
        ipo,
        family="pair",
        method="PO-04",
        paper="Azar et al. 2024, A General Theoretical Paradigm (IPO), eq. 17",
        equation="(a / n_w - b / n_l - 1 / (2 beta))^2",
        ranges={"beta": POSITIVE},
        claims=(Reduction("ipo_sum", given={"chosen_lengths": 1.0, "rejected_lengths": 1.0}),),
        departures="Log-ratios per token instead of summed, as TRL and HALOs do. beta is the paper's tau.",
    ),
    "ipo_sum": Row(
        ipo_sum,
        family="pair",
        method="PO-04",
        paper="Azar et al. 2024, A General Theoretical Paradigm (IPO), eq. 17",
        equation="(h - 1 / (2 beta))^2",
        ranges={"beta": POSITIVE},
        departures="beta is the paper's tau.",
    ),
    "orpo": Row(
        orpo,
        family="pair",
        method="PO-33",
        paper="Hong et al. 2024, ORPO, eq. 6-7",
        equation="-m_w - lam log sigmoid((m_w - m_l) - (log1mexp(m_w) - log1mexp(m_l))), m = S / n",
        ranges={"lam": NONNEGATIVE},
        claims=(
            decreases("chosen_logps"),
            increases("rejected_logps"),
            Reduction(
                "sft",
                knobs={"lam": 0.0},
                rename={"completion_logps": "chosen_logps", "completion_lengths": "chosen_lengths"},
            ),
        ),
        departures="The NLL covers the completion only; released code covers the prompt too. lam is TRL's beta.",
    ),
    "kto": Row(
        kto,
        family="unpaired",
        method="PO-50",
        paper="Ethayarajh et al. 2024, KTO, eq. 8",
        equation="w (1 - sigmoid(beta (S - R - z0))) if desirable, else w (1 - sigmoid(beta (z0 - S + R)))",
        ranges={"beta": POSITIVE, "desirable_weight": NONNEGATIVE, "undesirable_weight": NONNEGATIVE},
        claims=(
            decreases("completion_logps", desirable=1),
            increases("completion_ref_logps", "reference_kl", desirable=1),
            increases("completion_logps", desirable=0),
            decreases("completion_ref_logps", "reference_kl", desirable=0),
        ),
    ),
    "bradley_terry": Row(
        bradley_terry,
        family="reward",
        method="RM-01",
        paper="Bradley and Terry 1952; Ouyang et al. 2022, InstructGPT, eq. 1; centering: Eisenstein et al. 2023",
        equation="-log sigmoid(r_w - r_l) + centering (r_w + r_l)^2",
        ranges={"centering": NONNEGATIVE},
        claims=(decreases("chosen_scores"), increases("rejected_scores")),
    ),
    "bradley_terry_soft": Row(
        bradley_terry_soft,
        family="reward",
        method="RM-03",
        paper="Lee et al. 2023, RLAIF (soft labels)",
        equation="-p log sigmoid(r_w - r_l) - (1 - p) log sigmoid(r_l - r_w)",
        claims=(
            decreases("chosen_scores", preference_probability=1),
            increases("rejected_scores", preference_probability=1),
            Reduction("bradley_terry", given={"preference_probability": 1.0}),
        ),
    ),
    "bradley_terry_margin": Row(
        bradley_terry_margin,
        family="reward",
        method="RM-04",
        paper="Touvron et al. 2023, Llama 2, eq. 2",
        equation="-log sigmoid(r_w - r_l - scale margin)",
        ranges={"scale": NONNEGATIVE},
        claims=(
            decreases("chosen_scores"),
            increases("rejected_scores", "margin"),
            Reduction("bradley_terry", given={"margin": 0.0}),
            Reduction("bradley_terry", knobs={"scale": 0.0}),
        ),
        departures="The margin is the record's strength times scale; the paper maps four levels to fixed margins.",
    ),
}


def _row(name: str, families: Collection[str] = FAMILIES) -> Row:
    known = [known for known, row in CATALOGUE.items() if row.family in families]
    if name not in known:
        why = "does not fit this step" if name in CATALOGUE else "no such objective"
        raise ParamsError(f"objective.name: {why} (got '{name}').{nearest(name, known)}")
    return CATALOGUE[name]


def _parameters(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(_row(name).function).parameters.values())


def needs(name: str) -> tuple[str, ...]:
    """The quantities an objective takes, by name (see `quantities.py`). Raises ParamsError for an unknown name."""
    return tuple(p.name for p in _parameters(name) if p.kind is not inspect.Parameter.KEYWORD_ONLY)


def knobs(name: str) -> dict[str, float]:
    """The knobs of an objective with their defaults. Raises ParamsError for an unknown name."""
    return {p.name: p.default for p in _parameters(name) if p.kind is inspect.Parameter.KEYWORD_ONLY}


def bind(choice: Choice, families: Collection[str] = FAMILIES) -> Callable[..., Tensor]:
    """The objective with its knobs set: call it with its needs by keyword, get one loss per example.

    16-bit quantities are raised to fp32 first. Raises ParamsError for an unknown name (with the nearest), an objective
    of a family that is not in `families`, an unknown knob, or a knob that is not a number in its range.
    """
    row = _row(choice.name, families)
    defaults = knobs(choice.name)
    for knob, value in choice.knobs.items():
        where = f"objective.{knob}"
        if knob not in defaults:
            raise ParamsError(f"{where}: {choice.name} has no such knob.{nearest(knob, defaults)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ParamsError(f"{where}: must be a number (got {value!r}). Write a number.")
        if value not in row.ranges[knob]:
            raise ParamsError(f"{where}: must be {row.ranges[knob]} (got {value}). Try {defaults[knob]}.")
    bound = functools.partial(row.function, **{knob: float(value) for knob, value in choice.knobs.items()})

    def objective(**quantities: Tensor) -> Tensor:
        return bound(**{name: _full_precision(tensor) for name, tensor in quantities.items()})

    return objective


def _full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
