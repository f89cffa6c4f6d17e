"""coniferest's loop in an environment of its own: reads arrays, writes the same figures as the project's loop.

    python replay_peer.py TASK.npz OUT.json

This checkout is on its path for the one function that measures precision.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.metrics.ranking import average_precision

MARKS = (0, 10, 20, 50, 100, 200)


def forest(method: str, seed: int) -> Any:
    """Return a fresh forest with the defaults of its authors, on one thread."""
    from coniferest.aadforest import AADForest
    from coniferest.pineforest import PineForest

    makers: dict[str, Callable[[], Any]] = {
        "coniferest_aad": lambda: AADForest(random_seed=seed, n_jobs=1),
        "coniferest_aad_prior": lambda: AADForest(random_seed=seed, n_jobs=1, prior_influence=1.0),
        "coniferest_pine": lambda: PineForest(random_seed=seed, n_jobs=1),
    }
    return makers[method]()


def replay(task: dict[str, Any]) -> dict[str, Any]:
    """Ask for the most anomalous item, be told, refit, as often as the budget allows."""
    from coniferest.label import Label

    X, y, budget, seed = task["X"], task["y"], int(task["budget"]), int(task["seed"])
    rng = np.random.default_rng([seed, 1])
    model = forest(str(task["method"]), seed)
    model.fit(X)
    asked: list[int] = []
    told: list[Any] = []
    row: dict[str, Any] = {"found": {}, "ap_pool": {}, "ap_held_out": {}}
    spent = 0.0
    scores = -model.score_samples(X)
    for turn in range(budget + 1):
        if turn in MARKS:
            row["found"][turn] = int(y[asked].sum())
            row["ap_pool"][turn] = average_precision(y, scores)
            if len(task["held_y"]):
                row["ap_held_out"][turn] = average_precision(task["held_y"], -model.score_samples(task["held_X"]))
        if turn == budget or len(asked) == len(y):
            continue
        begun = time.perf_counter()
        left = scores.copy()
        left[asked] = -np.inf
        item = int(np.argmax(left))
        asked.append(item)
        verdict = int(y[item]) ^ int(rng.random() < float(task["wrong"]))
        told.append(Label.ANOMALY if verdict else Label.REGULAR)
        model.fit_known(X, X[asked], np.array(told))
        scores = -model.score_samples(X)
        spent += time.perf_counter() - begun
    return row | {"update_ms": 1000 * spent / max(len(asked), 1)}


def speed(task: dict[str, Any]) -> dict[str, Any]:
    """Time a refit with one label more and the ranking that follows."""
    from coniferest.label import Label

    X, y, known = task["X"], task["y"], int(task["known"])
    model = forest(str(task["method"]), int(task["seed"]))
    model.fit(X)
    items = np.arange(known + int(task["repeats"]))
    told = np.where(y[items] == 1, Label.ANOMALY, Label.REGULAR)
    model.fit_known(X, X[items[:known]], told[:known])
    times = []
    for k in range(known + 1, len(items) + 1):
        begun = time.perf_counter()
        model.fit_known(X, X[items[:k]], told[:k])
        np.argmax(-model.score_samples(X))
        times.append(1000 * (time.perf_counter() - begun))
    return {"update_ms": times}


def main() -> None:
    """Do one task."""
    with np.load(sys.argv[1], allow_pickle=False) as arrays:
        task = {name: arrays[name] for name in arrays.files}
    found = speed(task) if "known" in task else replay(task)
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
