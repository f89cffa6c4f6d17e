"""One cell of the replay benchmark: a set, a method, a seed and a kind of pass.

Shapes: n rows of the pool.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import ROOT

from anomaly.active.items import Items
from anomaly.active.learner import ActiveLearner
from anomaly.active.replay import Analysts, halves, replay, shuffled
from anomaly.active.strategies import Top
from anomaly.active.tables import LabelledTable
from anomaly.base import FeatureMatrix
from anomaly.commands.compose import compose
from anomaly.commands.targets import instantiate
from anomaly.events.tabular import TableRoles

WRONG = 0.1
PASSES = {"pool": 100, "half": 200, "wrong": 100}
"""Labels of each pass: what is found in the whole set; precision on a held-out half; the same with wrong labels."""
ROWS = 10_000
"""Rows of a set of ADBench, at most."""
PEER_PASSES = ("pool", "half")
"""What wrong labels cost is held against a bound, not against peers."""
PEERS = ("coniferest_aad", "coniferest_aad_prior", "coniferest_pine")
MINE = ("residual_gp", "aad", "pine", "pu_trees", "router")


@dataclass(frozen=True)
class Cell:
    """What is measured; `which` is one of `PASSES`."""

    name: str
    method: str
    seed: int
    which: str

    @property
    def file(self) -> str:
        """Name of the file that keeps the figures."""
        return f"{self.name}-{self.method}-{self.seed}-{self.which}.json"


def run_cell(cell: Cell, path: Path, peers: Path) -> dict[str, Any]:
    """Return the figures of a cell."""
    table = read_table(path)
    order = shuffled(table.truth, cell.seed)
    first, second = (order, order[:0]) if cell.which == "pool" else halves(table.truth, cell.seed)
    budget, wrong = PASSES[cell.which], WRONG if cell.which == "wrong" else 0.0
    if cell.method in PEERS:
        X, y = table.features.values.astype(np.float64), table.truth
        task = {"X": X[first], "y": y[first], "held_X": X[second], "held_y": y[second]}
        found = run_peer(peers, **task, budget=budget, wrong=wrong, seed=cell.seed, method=cell.method)
    else:
        found = _mine(cell, table, first, second, budget, wrong)
    return {"n_anomalous": int(table.truth.sum()), **found}


def read_table(path: Path) -> LabelledTable:
    """Return the rows of a table, a draw of them where they are more than `ROWS`."""
    roles = TableRoles() if path.suffix == ".npz" else TableRoles(label="label", anomaly="anomaly")
    table = LabelledTable.read(path, roles)
    if path.suffix != ".npz" or len(table.truth) <= ROWS:
        return table
    drawn = np.sort(np.random.default_rng(0).permutation(len(table.truth))[:ROWS])
    features = FeatureMatrix(table.features.values[drawn], table.features.names)
    return LabelledTable(table.ids.gather(drawn), features, table.truth[drawn])


def _mine(cell: Cell, table: LabelledTable, first: Any, second: Any, budget: int, wrong: float) -> dict[str, Any]:
    values = compose("replay", ["out=x", f"learner={cell.method}", f"seed={cell.seed}"]).values
    detector = next(iter(instantiate(values["detector"]).values()))
    detector.fit(FeatureMatrix(table.features.values[first], table.features.names))
    learner = instantiate(values["learner"]).set_params(random_state=cell.seed)
    held_out = (table.pool(detector, second), table.truth[second]) if len(second) else None
    done = replay(
        table.pool(detector, first),
        table.truth[first],
        learner,
        Top(),
        budget=budget,
        analysts=Analysts(wrong=wrong),
        held_out=held_out,
        random_state=cell.seed,
    )
    figures = {"found": done.found, "ap_pool": done.ap_pool, "ap_held_out": done.ap_held_out}
    return {key: {str(k): v for k, v in row.items()} for key, row in figures.items()} | {"update_ms": done.update_ms}


def run_peer(peers: Path, **task: Any) -> dict[str, Any]:
    """Hand a task to coniferest's environment and return what it writes."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "task.npz", Path(folder) / "answer.json"
        np.savez(given, **task)
        script = Path(__file__).with_name("replay_peer.py")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([peers / "bin" / "python", script, given, answer], check=True, env=environment)
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def speed_cell(n: int, peers: Path | None, known: int = 500, repeats: int = 5) -> dict[str, Any]:
    """Time one label more on top of `known`, with the new ranking and the next question, on made-up rows.

    Parameters
    ----------
    peers : coniferest's environment; None leaves it out
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 10)).astype(np.float32)
    y = (rng.random(n) < 0.05).astype(np.int64)
    X[y == 1] += 2.0
    items = Items(
        pl.Series(np.arange(n)), (X.astype(np.float64) ** 2).sum(axis=1), {"columns": FeatureMatrix(X, NAMES)}
    )
    begun = time.perf_counter()
    loop = ActiveLearner(items, query=Top())
    row: dict[str, Any] = {"n": n, "known": known, "fit_s": time.perf_counter() - begun}
    first = []
    for k in range(known):
        begun = time.perf_counter()
        loop.teach(k, int(y[k]))
        first.append(1000 * (time.perf_counter() - begun))
    row |= {"first_labels_s": sum(first) / 1000, "slowest_ms": max(first)}
    mine = []
    for k in range(known, known + repeats):
        begun = time.perf_counter()
        loop.teach(k, int(y[k])).choose()
        mine.append(1000 * (time.perf_counter() - begun))
    row["residual_gp_ms"] = mine
    begun = time.perf_counter()
    loop.undo()
    row["undo_ms"] = 1000 * (time.perf_counter() - begun)
    if peers is not None:
        task = {"X": X.astype(np.float64), "y": y, "known": known, "repeats": repeats, "seed": 0}
        row["coniferest_aad_ms"] = run_peer(peers, **task, method="coniferest_aad")["update_ms"]
    return row


NAMES = tuple(f"x{k}" for k in range(10))
