"""Imported by the server of `anomaly.sweeps.child` alone: what takes seconds in each process is done once before.

Some of PyOD's loops are compiled when they are first called; processes forked after that have them.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "ANOMALY_SWEEP_WARM"
"""Names the modules of detectors that will run, comma-separated; without it nothing is done."""


def compile_loops(modules: Iterable[str]) -> None:
    """Compile what the detectors of these modules would compile in every process; no thread is started."""
    rows = np.random.default_rng(0).normal(size=(16, 2))
    names = {module.rpartition(".")[2] for module in modules}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "hbos" in names:
            from pyod.models.hbos import HBOS

            HBOS().fit(rows)
        if names & {"cblof", "kmeans"}:
            from pyod.utils.stat_models import pairwise_distances_no_broadcast

            pairwise_distances_no_broadcast(rows, rows)


compile_loops(filter(None, os.environ.get(VARIABLE, "").split(",")))
