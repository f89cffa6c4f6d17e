"""A picture of a replay: what is found and how the rest is ranked, over the labels spent, with bands over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_INK, _MUTED, _ALERT = "#1f5fa8", "#767676", "#b3452c"


def draw_discovery(
    path: Path | str,
    found: Mapping[str, NDArray[np.float64]],
    precision: Mapping[str, tuple[Sequence[int], NDArray[np.float64]]],
    n_anomalous: int,
    title: str,
) -> None:
    """Write the picture; its kind is that of the file's ending.

    Parameters
    ----------
    found : name to (seeds, budget + 1) anomalies found after each label; the first is the loop, the others are floors
    precision : name to the numbers of labels and the (seeds, marks) average precisions
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, runs), color in zip(found.items(), (_INK, _MUTED), strict=False):
        _band(left, np.arange(runs.shape[1]), runs, color, name)
    budget = max((runs.shape[1] - 1 for runs in found.values()), default=0)
    left.plot(
        [0, min(budget, n_anomalous)], [0, min(budget, n_anomalous)], color=_MUTED, linestyle=":", label="perfect"
    )
    left.set(xlabel="labels", ylabel="anomalies found", xlim=(0, budget or None), ylim=(0, None))
    for (name, (marks, values)), color in zip(precision.items(), (_INK, _ALERT), strict=False):
        _band(right, np.asarray(marks), values, color, name)
    right.set(xlabel="labels", ylabel="average precision", ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=144, metadata={"Date": None} if str(path).endswith(".svg") else None)


def _band(axes: Axes, x: NDArray[Any], runs: NDArray[np.float64], color: str, name: str) -> None:
    """Draw the mean over seeds and the band from the lowest to the highest."""
    axes.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=color, alpha=0.2, linewidth=0)
    axes.plot(x, runs.mean(axis=0), color=color, label=name, marker="o" if len(x) < 10 else "", markersize=4)
