"""PyOD's XGBOD and DevNet on embeddings, in an environment of their own: python finetune_peers.py IN.npz OUT.json.

IN holds x (n, d), y (n,) in {1, 0, -1}, z (k, d) to be scored. Each peer learns twice, with the unknown rows taken for
normal, which is how it is meant, and without them; both scores are returned.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np


def main(source: str, target: str) -> None:
    """Fit the peers and write their scores."""
    warnings.simplefilter("ignore")
    data = np.load(source)
    x, y, z = data["x"], data["y"], data["z"]
    scores: dict[str, list[float]] = {}
    for name in ("XGBOD", "DevNet"):
        for which, rows in (("unknown as normal", y > -2), ("labels alone", y >= 0)):
            model = _peer(name)
            model.fit(x[rows], np.maximum(y[rows], 0))
            scores[f"{name}, {which}"] = np.asarray(model.decision_function(z), np.float64).ravel().tolist()
    Path(target).write_text(json.dumps(scores), encoding="utf-8")


def _peer(name: str):  # type: ignore[no-untyped-def]
    if name == "XGBOD":
        from pyod.models.xgbod import XGBOD

        return XGBOD(random_state=0)
    from pyod.models.devnet import DevNet

    return DevNet(random_seed=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
