"""Parameters of the registration component. Torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from components.errors import ParamsError
from components.training.params import Compute


@dataclass(frozen=True)
class Check:
    """One rule of the gate: `use` of `metric` `op` `value` (plus the value of metric `vs`, if one is named)."""

    metric: str
    """Name of a metric in the report's metrics.json."""
    op: Literal[">", ">=", "<", "<="]
    """How the metric must compare."""
    value: float = 0.0
    """The threshold; with `vs`, the margin added to that metric."""
    use: Literal["value", "ci_low", "ci_high"] = "value"
    """The estimate, or a bound of its 95 % interval: a bound keeps a lucky draw from passing."""
    vs: str = ""
    """Compare with this metric of the same report (for example a baseline)."""
    min_n: int = 0
    """Fail if the metric rests on fewer rows; 0 asks for none."""
    minimum_detectable_effect: float = 0.0
    """Fail if the interval is too wide to detect an effect of this size (power 0.8, level 0.05); 0 asks nothing."""
    with_champion: bool = False
    """Applies only when the report compares with a champion: before the first promotion there is none."""
    name: str = ""
    """What to call the check; empty: the rule itself."""

    @property
    def label(self) -> str:
        """`win_rate.judge.vs_reference ci_low > 0.5`."""
        if self.name:
            return self.name
        margin = "" if not self.value else f"{self.value:+g}"
        need = f"{self.vs}{margin}" if self.vs else f"{self.value:g}"
        use = "" if self.use == "value" else f" {self.use}"
        return f"{self.metric}{use} {self.op} {need}"

    def check(self) -> None:
        if self.min_n < 0 or self.minimum_detectable_effect < 0:
            raise ParamsError("min_n and minimum_detectable_effect: must not be negative. Use 0 to ask for nothing.")


def default_gate() -> tuple[Check, ...]:
    """Better than where it started, by a scorer that beats the obvious, without growing long or drifting far."""
    return (
        Check("reward_model.accuracy", ">", use="ci_low", vs="baseline.length.accuracy", min_n=50),
        Check("win_rate.reward_model.vs_reference", ">", 0.5, use="ci_low", min_n=50),
        Check("win_rate.reward_model.vs_champion", ">", 0.5, use="ci_low", min_n=50, with_champion=True),
        Check("contamination.exact", "<=", 0.0),
        Check("length.ratio_to_reference", "<=", 1.5),
        Check("kl.sequence_k1", "<=", 30.0),
    )


@dataclass(frozen=True)
class Params:
    """The name to register under, the gate, and whether passing it is enough to become champion."""

    name: str = "aligned-policy"
    """Name of the registered model; the champion and its history belong to this name."""
    gate: tuple[Check, ...] = field(default_factory=default_gate)
    """All must hold. A metric that is missing, not finite or resting on too few rows fails its check."""
    promote: bool = True
    """Make a version that passes the champion, if it was compared with the one of now; false leaves it challenger."""
    exact: bool = True
    """The stored weights must reproduce the training step's log-probabilities bit by bit where device, threads and
    precision are the same; false: to 1e-4 (for clusters that mix CPU types)."""
    compute: Compute = field(default_factory=Compute)
    """Where the stored weights are checked; use what the training step used."""

    def check(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ParamsError(f"name: letters, digits, '.', '_' and '-' only (got {self.name!r}). Change it.")
        if not self.gate:
            raise ParamsError("gate: must hold at least one check (got none). A gate that asks nothing is no gate.")
        labels = [check.label for check in self.gate]
        if len(set(labels)) < len(labels):
            raise ParamsError(f"gate: two checks have one name (got {sorted(labels)}). Give one of them a name.")
        if self.compute.processes != 1:
            raise ParamsError(f"compute.processes: must be 1 (got {self.compute.processes}). Set it to 1.")
