"""Time of PyOD's detectors as they come, and behind the adapter; and of the sequence aggregates.

    python benchmarks/classical_speed.py             ECOD and LOF at 50,000 rows, isolation forest at 200,000
    python benchmarks/classical_speed.py --quick     the same at a fiftieth of the rows, as a check that it runs

Rows have 64 columns. ECOD: one new row. LOF: the fit, and the AUROC of 5,000 new rows, one in twenty of them odd.
Isolation forest: the fit.
Both sides run in one process on one thread, in turns; the figure is the ratio of the medians, which other work on the
machine moves less than the times, and beside it the same of processor time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measure import result_path, stamp, write_json
from speed_data import speed_store
from threadpoolctl import threadpool_limits

from anomaly.base import FeatureMatrix
from anomaly.detectors.classical import PyODDetector
from anomaly.features.aggregates import SequenceAggregates
from anomaly.metrics import auroc

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

COLUMNS = 64
MUST = {"ecod_one_row": 300.0, "lof_fit": 10.0, "iforest_fit": 5.0}
EVENTS_PER_SECOND = 1e6
AUROC_LOSS = 0.003
QUICK = 50


def rows(n: int, seed: int, odd: float = 0.0) -> tuple[Rows, NDArray[np.float64]]:
    """Return correlated rows, a share of which leaves the correlation, and which these are."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(COLUMNS // 8, COLUMNS))
    is_odd = rng.random(n) < odd
    noise = rng.normal(size=(n, COLUMNS)) * np.where(is_odd, 1.3, 0.5)[:, None]
    return (rng.normal(size=(n, COLUMNS // 8)) @ mix + noise).astype(np.float32), is_odd.astype(np.float64)


def matrix(values: Rows) -> FeatureMatrix:
    """Name the columns."""
    return FeatureMatrix(values, tuple(f"x{k}" for k in range(values.shape[1])))


def seconds(call: Callable[[], Any]) -> float:
    """Return the wall time of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def in_turns(theirs: Callable[[], Any], ours: Callable[[], Any], repeats: tuple[int, int]) -> dict[str, float]:
    """Return the median times of both, and the ratios of wall and of processor time."""
    times: tuple[list[tuple[float, float]], ...] = [], []
    for turn in range(max(repeats)):
        for side, call in enumerate((theirs, ours)):
            if turn < repeats[side]:
                begun = time.process_time()
                times[side].append((seconds(call), time.process_time() - begun))
    (pyod_s, pyod_cpu), (anomaly_s, anomaly_cpu) = (map(float, np.median(t, axis=0)) for t in times)
    ratios = {"ratio": pyod_s / anomaly_s, "of_processor_time": pyod_cpu / anomaly_cpu}
    return {"pyod_s": pyod_s, "anomaly_s": anomaly_s} | ratios


def ecod_one_row(n: int) -> dict[str, float]:
    """Time one new row against n fitted ones."""
    from pyod.models.ecod import ECOD

    values, _ = rows(n, 1)
    new, _ = rows(1, 2)
    theirs = ECOD().fit(values)
    ours = PyODDetector(detector=ECOD).fit(matrix(values))
    row = matrix(new)
    difference = abs(float(theirs.decision_function(new)[0]) - float(ours.decision_function(row)[0]))
    found = in_turns(lambda: theirs.decision_function(new), lambda: ours.decision_function(row), (3, 30))
    return found | {"rows": n, "difference": difference}


def lof_fit(n: int) -> dict[str, float]:
    """Time the fit, and compare the ranking of new rows."""
    from pyod.models.lof import LOF

    values, _ = rows(n, 1)
    new, odd = rows(max(n // 10, 500), 2, odd=0.05)
    theirs, ours = LOF(novelty=True), PyODDetector(detector=LOF)
    found = in_turns(lambda: theirs.fit(values), lambda: ours.fit(matrix(values)), (1, 3))
    scores = theirs.decision_function(new), ours.decision_function(matrix(new))
    return found | {"rows": n, "pyod_auroc": auroc(odd, scores[0]), "anomaly_auroc": auroc(odd, scores[1])}


def iforest_fit(n: int) -> dict[str, float]:
    """Time the fit."""
    from pyod.models.iforest import IForest

    values, _ = rows(n, 1)
    ours = PyODDetector(detector=IForest)
    return in_turns(lambda: IForest(random_state=0).fit(values), lambda: ours.fit(matrix(values)), (3, 3)) | {"rows": n}


def aggregates(n_sequences: int) -> dict[str, float]:
    """Time the features of sequences."""
    store = speed_store(n_sequences)
    features = SequenceAggregates().fit(store)
    taken = float(np.median([seconds(lambda: features.transform(store)) for _ in range(3)]))
    rate = store.n_events / taken
    return {"events": store.n_events, "columns": len(features.names_), "s": taken, "events_per_s": rate}


def main(arguments: list[str]) -> int:
    """Measure, write the result, and return 1 where something falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    part = QUICK if options.quick else 1
    warnings.simplefilter("ignore")
    result = stamp("classical_speed", "pyod", "scikit-learn", "numpy")
    with threadpool_limits(1):
        result["ecod_one_row"] = ecod_one_row(50_000 // part)
        result["lof_fit"] = lof_fit(50_000 // part)
        result["iforest_fit"] = iforest_fit(200_000 // part)
        result["aggregates"] = aggregates(30_000 // part)
    result["met"] = met = verdict(result)
    out = options.out or (None if options.quick else result_path("classical_speed"))
    if out is not None:
        write_json(out, result)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0 if all(met.values()) or options.quick else 1


def verdict(result: dict[str, Any]) -> dict[str, bool]:
    """Return which demands are met."""
    met = {name: result[name]["ratio"] >= least for name, least in MUST.items()}
    lof = result["lof_fit"]
    met["lof_auroc"] = lof["anomaly_auroc"] >= lof["pyod_auroc"] - AUROC_LOSS
    met["ecod_under_2_ms"] = result["ecod_one_row"]["anomaly_s"] < 2e-3
    met["aggregates"] = result["aggregates"]["events_per_s"] > EVENTS_PER_SECOND
    return met


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
