"""The pictures of a leaderboard; every one returns a matplotlib figure in the page's marker colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from anomaly.report.svg import ACCENT, ALERT, INK, MUTED, RULE, SOFT, canvas
from anomaly.report.text import clean
from anomaly.sweeps.ranks import groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from anomaly.sweeps.board import Board

_ROW = 0.24
"""Inches of height for a line of text."""
_INCH = 72
"""Points of an inch."""


def critical_difference(board: Board) -> Figure:
    """Draw mean ranks, best on top; a bar spans competitors that the data cannot tell apart."""
    ranks = board.ranks
    n = len(board.competitors)
    figure, axes = canvas(_ROW * n + 0.9)
    places = np.arange(n)
    mine = np.array([name == board.against for name in board.competitors])
    axes.hlines(places, 0.8, ranks.mean, color=RULE, linewidth=1)
    axes.scatter(ranks.mean[~mine], places[~mine], s=26, color=MUTED, zorder=3)
    axes.scatter(ranks.mean[mine], places[mine], s=40, color=ACCENT, zorder=3)
    right = float(np.nanmax(ranks.mean)) if np.isfinite(ranks.mean).any() else 1.0
    if ranks.apart is not None:
        for k, (first, last) in enumerate(groups(ranks.mean, ranks.apart)):
            x = right + 0.35 + 0.3 * k
            axes.plot([x, x], [first - 0.2, last + 0.2], color=ALERT, linewidth=2.4, solid_capstyle="round")
    _names(axes, board.competitors)
    axes.set(xlabel="mean rank (1 is best)", xlim=(0.8, None))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def per_set(board: Board) -> Figure:
    """Draw average precision on each set: the default, the best of PyOD and the best floor."""
    figure, axes = canvas(_ROW * len(board.per_set) + 1.2)
    shown: dict[str, tuple[str, str, str]] = {
        "best_floor": ("best floor", MUTED, "|"),
        "best_pyod": ("best of PyOD on this set", ALERT, "D"),
        "default": (board.against, ACCENT, "o"),
    }
    for key, (label, color, marker) in shown.items():
        points = [(line[key]["ap"], k) for k, line in enumerate(board.per_set) if line[key]]
        if points:
            xs, ys = np.array(points).T
            axes.scatter(xs, ys, s=60 if marker == "|" else 26, color=color, marker=marker, label=label, zorder=3)
    _intervals(axes, board)
    _names(axes, board.sets)
    axes.set(xlabel="average precision", xlim=(-0.02, 1.02))
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.4, -50 / (72 * figure.get_figheight())),
        frameon=False,
        labelcolor=MUTED,
        fontsize=10,
        ncols=3,
        handletextpad=0.2,
        columnspacing=1.0,
    )
    return figure


def cost(board: Board) -> Figure | None:
    """Draw mean average precision over the time of a fit; None where no time is known."""
    lines = [line for line in board.lines if line["fit_seconds"] is not None and np.isfinite(line["ap"])]
    if not lines:
        return None
    figure, axes = canvas(3.6)
    xs = np.array([max(line["fit_seconds"] + (line["score_seconds"] or 0.0), 1e-3) for line in lines])
    ys = np.array([line["ap"] for line in lines])
    colors = [ACCENT if line["competitor"] == board.against else MUTED for line in lines]
    axes.scatter(xs, ys, s=24, c=colors, zorder=3)
    axes.set(xlabel="median time to fit and score a set", ylabel="mean average precision", xscale="log", xmargin=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g} s"))
    axes.xaxis.set_minor_locator(NullLocator())
    _label(axes, xs, ys, [clean(line["competitor"].rpartition(".")[2], 14) for line in lines])
    return figure


def _label(axes: Axes, xs: NDArray[np.float64], ys: NDArray[np.float64], names: list[str]) -> None:
    """Write a name beside each point, where it lies on no other name and no other point if there is such a place."""
    axes.autoscale_view()
    points = axes.transData.transform(np.stack([xs, ys], axis=1)) * _INCH / axes.figure.dpi
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in points]
    for k in np.lexsort((ys, xs)):
        text = axes.annotate(names[k], (xs[k], ys[k]), (0, 0), textcoords="offset points", fontsize=8.5, color=INK)
        wide = text.get_window_extent().width * _INCH / axes.figure.dpi
        aside = [(x, y) for y in (3, -9, 11, -17, 19, -25) for x in (4, -wide - 4, -wide / 2)]
        boxes = [(points[k][0] + x, points[k][1] + y) for x, y in aside]
        shared = [sum(_overlap((x, y - 2, x + wide, y + 8), other) for other in taken) for x, y in boxes]
        best = int(np.argmin(shared))
        left, low = boxes[best]
        taken.append((left, low - 2, left + wide, low + 8))
        text.set_position(aside[best])


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the area that two boxes (left, low, right, high) share."""
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)


def _intervals(axes: Axes, board: Board) -> None:
    for k, line in enumerate(board.per_set):
        row: dict[str, Any] | None = line["default"]
        if row and row["ap_low"] is not None:
            axes.plot([row["ap_low"], row["ap_high"]], [k, k], color=SOFT, linewidth=5, zorder=2)


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(np.arange(len(names)), [clean(name, 22) for name in names])
    axes.tick_params(axis="y", labelsize=9.5, labelcolor=INK)
    axes.set(ylim=(len(names) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
