"""The gate: stored metrics and rules in, a verdict out. A pure function that fails closed (EVAL-39)."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from components.measures.table import row_of
from components.registration.params import Check

PASS, REFUSED = "pass", "refused"
OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}

# Minimum detectable effect from the half-width h of a 95 % interval: (z_0.975 + z_0.8) * h / z_0.975 (EVAL-38 g).
Z_ALPHA, Z_POWER = 1.959963984540054, 0.8416212335729143


def gate(
    metrics: Mapping[str, Any], checks: Sequence[Check], *, champion: bool, missing: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`{verdict, checks: [{name, metric, op, need, got, n, use, minimum_detectable_effect, ok, reason}], skipped}`.

    `metrics`: name -> number or {value, n, ci_low, ci_high}. `champion`: the report compares with one; if not, checks
    `with_champion` are listed as skipped. `missing`: why the report lacks a metric, for the reason.
    """
    rows = [_evaluate(metrics, check, missing or {}) for check in checks if champion or not check.with_champion]
    skipped = [check.label for check in checks if check.with_champion and not champion]
    passed = bool(rows) and all(row["ok"] for row in rows)
    return {"verdict": PASS if passed else REFUSED, "checks": rows, "skipped": skipped}


def to_json(decision: Mapping[str, Any]) -> str:
    return json.dumps(decision, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def failing(decision: Mapping[str, Any]) -> list[str]:
    """The names of the checks that refused."""
    return [row["name"] for row in decision["checks"] if not row["ok"]]


def _evaluate(metrics: Mapping[str, Any], check: Check, missing: Mapping[str, str]) -> dict[str, Any]:
    got, got_why = _number(metrics, check.metric, check.use, missing)
    base, need_why = _number(metrics, check.vs, "value", missing) if check.vs else (0.0, "")
    need = None if base is None else base + check.value
    n, effect = _count(metrics.get(check.metric)), detectable_effect(metrics.get(check.metric))
    ok, reason = False, got_why or need_why or _too_uncertain(check, n, effect)
    if got is not None and need is not None and not reason:
        ok = OPERATORS[check.op](got, need)
        reason = f"{check.use} is {got:.6g}, {'' if ok else 'must be '}{check.op} {need:.6g}"
    return {
        "name": check.label,
        "metric": check.metric,
        "use": check.use,
        "op": check.op,
        "need": need,
        "got": got,
        "n": n,
        "minimum_detectable_effect": effect,
        "ok": ok,
        "reason": reason,
    }


def _number(metrics: Mapping[str, Any], name: str, use: str, missing: Mapping[str, str]) -> tuple[float | None, str]:
    """(finite number, "") or (None, why there is none)."""
    if name not in metrics:
        why = missing.get(name, "" if row_of(name) else "no measure has this name")
        return None, f"the report has no metric {name}" + (f" ({why})" if why else "")
    entry = metrics[name]
    if isinstance(entry, Mapping):
        value = entry.get(use)
    elif use == "value":
        value = entry
    else:
        return None, f"{name} has no interval"
    if value is None:
        return None, f"{name} has no {use}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None, f"{use} of {name} is not a finite number (got {value!r})"
    return float(value), ""


def _count(entry: Any) -> int | None:
    n = entry.get("n") if isinstance(entry, Mapping) else None
    return n if isinstance(n, int) and not isinstance(n, bool) else None


def detectable_effect(entry: Any) -> float | None:
    """The smallest effect that a metric with this interval detects with power 0.8 at level 0.05; None without one.

    A proportion at 0.5 with n = 785 has h = 1.96 * sqrt(0.25 / 785) = 0.0350, so 2.80 * 0.0350 / 1.96 = 0.05.
    """
    if not isinstance(entry, Mapping):
        return None
    low, high = entry.get("ci_low"), entry.get("ci_high")
    for bound in (low, high):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
            return None
    return float((Z_ALPHA + Z_POWER) * (high - low) / 2 / Z_ALPHA)  # type: ignore[operator]


def _too_uncertain(check: Check, n: int | None, effect: float | None) -> str:
    if check.min_n and (n is None or n < check.min_n):
        return f"rests on {'an unknown number of' if n is None else n} rows, needs at least {check.min_n}"
    wanted = check.minimum_detectable_effect
    if wanted and effect is None:
        return f"has no interval, so an effect of {wanted:g} cannot be shown to be detectable"
    if wanted and effect is not None and effect > wanted:
        return f"its interval detects effects of {effect:.4f} or more, needs {wanted:g}: evaluate on more prompts"
    return ""
