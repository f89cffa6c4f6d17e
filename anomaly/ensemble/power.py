"""The power report: what share of each kind of trouble a run finds, told without a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def power_rows(scores: Mapping[str, NDArray[np.float64]], threshold: float) -> list[dict[str, Any]]:
    """Return a row per kind: how many damaged items were scored and what share exceeds the threshold.

    Parameters
    ----------
    scores : kind to (k,) scores of damaged items that the combiner did not learn from
    """
    return [
        {"kind": kind, "n": len(found), "found": float(np.mean(found > threshold)) if len(found) else float("nan")}
        for kind, found in scores.items()
    ]
