"""The report's plots as inline SVG. The same data give the same bytes: fixed ids, no date, no font files.

Colours are drawn as fixed stand-ins and written out as CSS variables, so that one plot serves light and dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from components.statistics.calibration import Bin
from components.statistics.intervals import Estimate

COLORS = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    "candidate": "#040404",
    "reference": "#050505",
    "champion": "#060606",
    "good": "#070707",
    "bad": "#080808",
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["muted"],
    "axes.edgecolor": COLORS["line"],
    "xtick.color": COLORS["line"],
    "ytick.color": COLORS["line"],
    "xtick.labelcolor": COLORS["muted"],
    "ytick.labelcolor": COLORS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.6,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.labelcolor": COLORS["muted"],
}
WIDTH = 4.6  # inches: on a phone the text keeps its size, on a desktop two plots stand side by side


def _svg(name: str, label: str, height: float, draw: Callable[[Axes], None]) -> str:
    """Draw on one axes and return an `<svg>` element without prolog, namespaces and metadata (it holds the date)."""
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<defs>\s*</defs>", "", text, flags=re.S)
    head, body = text.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    assert view is not None
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'href="#{name}-\2"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", body)
    body = re.sub(r"font-family: [^;\"]+;?", "", body)
    for role, color in COLORS.items():
        body = body.replace(color, f"var(--{role})")
    body = re.sub(r"\s*\n\s*", "\n", body)
    return f'<svg class="plot" {view[0]} role="img" aria-label="{label}">{body.strip()}'


def _rows(axes: Axes, labels: Sequence[str]) -> np.ndarray:
    """One horizontal row per label, the first on top."""
    where = np.arange(len(labels))[::-1].astype(float)
    axes.set_yticks(where, labels)
    axes.set_ylim(-0.7, len(labels) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    return where


def _interval(row: Estimate) -> tuple[float, float]:
    low, high = row["ci_low"], row["ci_high"]
    return (row["value"], row["value"]) if low is None or high is None else (low, high)


def forest(rows: Sequence[tuple[str, Estimate]]) -> str:
    """Win rates with intervals against the line of no difference."""

    def draw(axes: Axes) -> None:
        where = _rows(axes, [label for label, _ in rows])
        axes.axvline(0.5, color=COLORS["muted"], linewidth=1, linestyle=(0, (3, 3)))
        for y, (_, row) in zip(where, rows, strict=True):
            low, high = _interval(row)
            color = COLORS["good"] if low > 0.5 else COLORS["bad"] if high < 0.5 else COLORS["muted"]
            axes.plot([low, high], [y, y], color=color, linewidth=3, solid_capstyle="round", alpha=0.55)
            axes.plot([row["value"]], [y], "o", color=color, markersize=6.5)
            axes.annotate(
                f"{row['value']:.1%}", (row["value"], y), (0, 8), textcoords="offset points", ha="center", size=8
            )
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("answers of the candidate preferred")

    return _svg("forest", "Win rates with 95 % intervals", 0.75 + 0.42 * len(rows), draw)


def accuracy(rows: Sequence[tuple[str, Estimate, bool]]) -> str:
    """Accuracies on the same held-out comparisons; the third entry marks the scorer, the others are baselines."""

    def draw(axes: Axes) -> None:
        where = _rows(axes, [label for label, _, _ in rows])
        for y, (_, row, own) in zip(where, rows, strict=True):
            low, high = _interval(row)
            axes.barh(y, row["value"], height=0.55, color=COLORS["candidate" if own else "reference"], alpha=0.85)
            axes.plot([low, high], [y, y], color=COLORS["ink"], linewidth=1.3, solid_capstyle="butt")
            axes.annotate(f"{row['value']:.1%}", (1.0, y), (3, 0), textcoords="offset points", va="center", size=8)
        axes.axvline(0.5, color=COLORS["muted"], linewidth=1, linestyle=(0, (3, 3)))
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("comparisons ranked as the annotators did")

    return _svg("accuracy", "Accuracy of scorers and baselines", 0.75 + 0.38 * len(rows), draw)


def _bins(values: np.ndarray) -> list[float]:
    """Edges of about 20 equal bins; for whole numbers every bin holds equally many of them."""
    low, high = float(values.min()), float(values.max())
    if (values == np.round(values)).all():
        step = float(np.ceil((high - low + 1) / 20))
        return [float(edge) for edge in np.arange(low - 0.5, high + step + 0.5, step)]
    return [float(edge) for edge in np.linspace(low, high, 21)]


def histogram(name: str, label: str, xlabel: str, data: Mapping[str, Sequence[float]], zero_line: bool = False) -> str:
    """Distributions of the systems over shared bins; a dashed line at each mean."""
    edges = _bins(np.concatenate([np.asarray(values, float) for values in data.values()]))

    def draw(axes: Axes) -> None:
        for system, values in data.items():
            color = COLORS[system]
            weights = np.full(len(values), 1 / len(values))
            axes.hist(values, edges, weights=weights, histtype="stepfilled", color=color, alpha=0.3)
            axes.hist(values, edges, weights=weights, histtype="step", color=color, linewidth=1.4)
            axes.axvline(float(np.mean(values)), color=color, linewidth=1.2, linestyle=(0, (4, 2)))
            axes.plot([], [], color=color, linewidth=5, label=f"{system} {np.mean(values):.3g}")
        if zero_line:
            axes.axvline(0, color=COLORS["muted"], linewidth=1)
        axes.set_xlabel(xlabel)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
        axes.tick_params(axis="y", labelcolor=COLORS["muted"])
        axes.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=len(data),
            handlelength=0.9,
            columnspacing=1.4,
        )

    return _svg(name, label, 2.5, draw)


def reliability_diagram(bins: Sequence[Bin]) -> str:
    """Observed against predicted probability; the area of a dot is its share of the pairs."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=COLORS["muted"], linewidth=1, linestyle=(0, (3, 3)))
        total = sum(b.n for b in bins)
        x, y = [b.predicted for b in bins], [b.observed for b in bins]
        axes.plot(x, y, color=COLORS["candidate"], linewidth=1.2, alpha=0.6)
        axes.scatter(x, y, s=[18 + 320 * b.n / total for b in bins], color=COLORS["candidate"], alpha=0.75, linewidth=0)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.05, 1.05)
        axes.grid(True, axis="both")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.tick_params(axis="y", labelcolor=COLORS["muted"])
        axes.set_xlabel("predicted probability of being preferred")
        axes.set_ylabel("observed")

    return _svg("reliability", "Reliability diagram of the reward model", 2.7, draw)


def curve(name: str, metric: str, steps: Sequence[float], values: Sequence[float]) -> str:
    """One training metric over optimizer steps, raw and as a centred mean over a tenth of the run."""
    reach = len(values) // 20
    smooth = [float(np.mean(values[max(0, i - reach) : i + reach + 1])) for i in range(len(values))]

    def draw(axes: Axes) -> None:
        axes.plot(steps, values, color=COLORS["candidate"], linewidth=0.9, alpha=0.35)
        axes.plot(steps, smooth, color=COLORS["candidate"], linewidth=1.8)
        axes.set_title(metric, loc="left", fontsize=9, color=COLORS["ink"])
        axes.grid(True, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(axis="y", labelcolor=COLORS["muted"])
        axes.set_xlabel("optimizer step")

    return _svg(name, f"Training curve of {metric}", 2.2, draw)
