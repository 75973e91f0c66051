"""How the report writes numbers."""

from __future__ import annotations


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """Three significant digits, no exponent for ordinary sizes."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write(value: float | None, format: str) -> str:
    """A value as its measure says: percent or number."""
    return percent(value) if format == "percent" else number(value)
