"""PyOD's detectors that learn from labels, with its defaults; unlabelled rows are given as normal, as ADBench does."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from inspect import signature

import numpy as np
from exchange import take
from sklearn.preprocessing import StandardScaler


def main(folder: str) -> None:
    """Fit on rows and labels, and score."""
    task = take(folder)
    seed = task.told["seed"]
    np.random.seed(seed)  # noqa: NPY002
    labels = (task.table("labels") == 1).astype(int)
    scaler = StandardScaler()
    fit = scaler.fit_transform(task.table("fit").astype(float))
    score = scaler.transform(task.table("score").astype(float))
    module, name = task.option("detector", "xgbod.XGBOD").split(".")
    kind = getattr(import_module(f"pyod.models.{module}"), name)
    # DevNet calls it otherwise than all others do.
    named = "random_seed" if "random_seed" in signature(kind).parameters else "random_state"
    detector = kind(**{named: seed})
    detector.fit(fit, labels)
    fitted = time.perf_counter()
    task.finish(np.asarray(detector.decision_function(score)).reshape(-1), fitted)


if __name__ == "__main__":
    main(sys.argv[1])
