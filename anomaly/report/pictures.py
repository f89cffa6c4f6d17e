"""The pictures of a report, one function each; every one returns a matplotlib figure in the page's marker colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from anomaly.metrics.intervals import wilson
from anomaly.report.svg import ACCENT, ALERT, INK, MUTED, RULE, SETTINGS, SOFT, canvas
from anomaly.report.text import clean, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MAX_POINTS = 400
_LINES = ((ACCENT, "-"), (ALERT, "--"), (MUTED, ":"), (INK, "-."))


def p_value_histogram(scored: NDArray[np.float64], held_out: NDArray[np.float64] | None) -> Figure:
    """Draw how p-values spread; normal sequences spread evenly, along the dashed line."""
    figure, axes = canvas()
    edges = np.linspace(0, 1, 41)
    if held_out is not None and len(held_out):
        axes.stairs(_density(held_out, edges), edges, fill=True, color=SOFT, label="held-out")
    axes.stairs(_density(scored, edges), edges, color=ACCENT, linewidth=1.6, label="scored")
    axes.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    # Room for the legend, which the steps would otherwise run through.
    axes.set(xlabel="p-value", ylabel="density", xlim=(-0.01, 1), ylim=(0, 1.25 * axes.get_ylim()[1]))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if held_out is not None and len(held_out):
        _legend(axes)
    return figure


def score_survival(scores: NDArray[np.float64], threshold: float | None) -> Figure:
    """Draw the share of items that score at least x, with the threshold and what chance alone would give."""
    figure, axes = canvas()
    threshold = threshold if threshold is not None and np.isfinite(threshold) else None
    ordered = np.sort(scores)[::-1]
    places = np.unique(np.geomspace(1, len(ordered), MAX_POINTS).astype(np.int64)) - 1
    top = max(float(ordered[0]), threshold or 0.0, 1.0) * 1.04
    floor = 0.6 / len(ordered)
    chance = min(top, -np.log10(floor))
    axes.plot([0, chance], [1, 10**-chance], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="chance alone")
    axes.step(ordered[places], (places + 1) / len(ordered), where="post", color=ACCENT, label="scored")
    axes.set(xlabel="score", ylabel="share at this score or above", yscale="log", ylim=(floor, 1.4), xlim=(0, top))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: share(y)))
    axes.yaxis.set_minor_locator(NullLocator())
    if threshold is not None:
        axes.axvline(threshold, color=ALERT, linewidth=1.4, label=f"threshold {threshold:.2f}")
    _legend(axes)
    return figure


def calibration(held_out: NDArray[np.float64]) -> Figure:
    """Draw the share of held-out items at or below each p-value, with the band in which chance leaves it."""
    figure, axes = canvas()
    n = len(held_out)
    levels = np.geomspace(max(1 / n, 1e-6), 1, 60)
    observed = np.searchsorted(np.sort(held_out), levels, side="right") / n
    low, high = wilson(levels * n, np.full(len(levels), n))
    axes.fill_between(levels, np.maximum(low, 0.3 / n), high, color=SOFT, linewidth=0, label="chance, 95%")
    axes.plot(levels, levels, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(levels, np.maximum(observed, 0.3 / n), color=ACCENT, label="held-out")
    axes.set(xlabel="p-value", ylabel="share at or below", xscale="log", yscale="log", ylim=(0.3 / n, 1.4))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda y, _: share(y)))
        axis.set_minor_locator(NullLocator())
    _legend(axes, "lower right")
    return figure


def flagged_over_time(days: NDArray[Any], flagged: NDArray[np.bool_]) -> Figure:
    """Draw how many items were flagged in each stretch of time; `days` are datetime64."""
    figure, axes = canvas()
    seconds = days.astype("datetime64[s]").astype(np.int64)
    edges = np.linspace(seconds.min(), seconds.max() + 1, 41)
    counts, _ = np.histogram(seconds[flagged], edges)
    axes.stairs(counts, edges / 86400, fill=True, color=SOFT)
    axes.stairs(counts, edges / 86400, color=ACCENT, linewidth=1.4)
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    with matplotlib.rc_context(SETTINGS):
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set(ylabel="flagged", ylim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def training_curve(rows: Sequence[Mapping[str, Any]], x: str, lines: Sequence[str]) -> Figure:
    """Draw losses over epochs or steps."""
    figure, axes = canvas()
    for name, (color, style) in zip(lines, _LINES, strict=False):
        points = [(row[x], row[name]) for row in rows if row.get(x) is not None and row.get(name) is not None]
        xs, ys = np.array(points, np.float64).T
        marker = "o" if len(points) < 15 else ""
        axes.plot(xs, ys, color=color, linestyle=style, marker=marker, markersize=3.5, label=clean(name, 30))
    axes.set(xlabel=clean(x, 30), ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _legend(axes)
    return figure


def precision_recall(curve: Mapping[str, Any], prevalence: float) -> Figure:
    """Draw precision over recall with its band, and the precision of a blind choice."""
    figure, axes = _curve(curve, "recall")
    axes.axhline(prevalence, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="blind choice")
    axes.set(xlabel="recall", ylabel="precision")
    _legend(axes)
    return figure


def roc(curve: Mapping[str, Any]) -> Figure:
    """Draw recall over the false-alarm rate with its band, and that of a blind choice."""
    figure, axes = _curve(curve, "false_positive_rate")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="blind choice")
    axes.set(xlabel="false-alarm rate", ylabel="recall")
    _legend(axes, "lower right")
    return figure


def _curve(curve: Mapping[str, Any], x: str) -> tuple[Figure, Axes]:
    figure, axes = canvas()
    axes.fill_between(curve[x], curve["low"], curve["high"], color=SOFT, linewidth=0, label="95% interval")
    axes.plot(curve[x], curve["value"], color=ACCENT, label="this run")
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.03))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    return figure, axes


def _density(p_values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(p_values, edges)
    density: NDArray[np.float64] = counts / max(len(p_values), 1) * (len(edges) - 1)
    return density


def _legend(axes: Axes, place: Literal["upper right", "lower right"] = "upper right") -> None:
    with matplotlib.rc_context(SETTINGS):
        axes.legend(
            loc=place, frameon=False, labelcolor=MUTED, fontsize=10, handlelength=1.6, borderaxespad=0.2, edgecolor=RULE
        )
