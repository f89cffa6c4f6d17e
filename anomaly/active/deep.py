"""The network tuned on the labels, in a process beside the session; another learner ranks, and goes on ranking.

Not a pure fold: what ranks depends on when a tuning ends. No verdict waits for one, and a tuning that fails changes
nothing.

Shapes: n items of the pool.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from anomaly.active.records import Belief, Labels
from anomaly.active.residual_gp import ResidualGP
from anomaly.base import Learner, seeded
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items

    Floats = NDArray[np.float64]


_LOG = logging.getLogger("anomaly")


class BackgroundTuning(Learner):
    """Rank by another learner, and let a network that `anomaly finetune` tunes meanwhile have its say.

    It has a say where its cross-fitted evidence is that hidden labels are ranked better with it. New events are ranked
    by the other learner alone; a network that ranks those as well is what `anomaly finetune` writes.

    Parameters
    ----------
    run : folder of the run whose items are ranked
    learner : ranks; `ResidualGP` unless stated
    first, growth : labels at which the network is tuned first, and then whenever they are that many times as many
    weight : what the tuned posterior, from 0 to 1, counts beside the other learner's
    wait : let a label wait for the tuning that it starts, as a replay must

    Attributes
    ----------
    tuned_ : number of labels that the network which has a say has learnt from; 0 where none has
    """

    _next: int
    """Labels at which the network is tuned next."""

    def __init__(
        self,
        *,
        run: str | None = None,
        learner: Learner | None = None,
        first: int = 30,
        growth: float = 2.0,
        weight: float = 1.0,
        wait: bool = False,
        random_state: int = 0,
    ) -> None:
        self.run = run
        self.learner = learner
        self.first = first
        self.growth = growth
        self.weight = weight
        self.wait = wait
        self.random_state = random_state

    def fit(self, X: Items) -> Self:
        """Fit the other learner.

        Raises
        ------
        ConfigError
            If there is no run, as the rows of a table have none.
        """
        if self.run is None:
            raise ConfigError("learner=deep tunes the network of a run, and here is none; choose another learner")
        self.learner_ = seeded(self.learner or ResidualGP(), self.random_state).fit(X)
        self._ids = X.ids
        self._job: Tuning | None = None
        self._forget()
        return self

    def update(self, labels: Labels) -> Self:
        """Let the other learner hold the labels, hear a tuning that has ended, and begin one when it is due."""
        labels = labels.decided
        self.learner_.update(labels)
        self.hear()
        if len(labels) < self.tuned_:
            self._forget()
        if self._job is None and len(labels) >= self._next and len(np.unique(labels.verdicts)) == 2:
            self._next = max(int(len(labels) * self.growth), len(labels) + 1)
            self._job = Tuning(str(self.run), self._ids, labels, self.random_state)
            if self.wait:
                self._job.process.wait()
                self.hear()
        return self

    def hear(self) -> None:
        """Take the posterior of a tuning that has ended, if hidden labels speak for it."""
        if self._job is None or self._job.process.poll() is None:
            return
        found, count = self._job.posterior(), self._job.n_labels
        self._job.end()
        self._job = None
        if found is not None:
            self._posterior, self.tuned_ = found, count

    def belief(self) -> Belief:
        """Return what the other learner holds, and the tuned posterior beside it."""
        held = self.learner_.belief()
        return held if not self.tuned_ else Belief(held.mean + self.weight * self._posterior, held.std, held.votes)

    def score(self, X: Items) -> Floats:
        """Return (k,) the posterior that the other learner gives other items."""
        return np.asarray(self.learner_.score(X))

    def told(self) -> list[str]:
        """Return whether a tuned network has a say, and what the other learner says."""
        network = [f"the network, tuned on {self.tuned_} labels, has a say"] if self.tuned_ else []
        return [*network, *self.learner_.told()]

    def _forget(self) -> None:
        self.tuned_, self._posterior = 0, np.zeros(len(self._ids))
        self._next = self.first


class Tuning:
    """One `anomaly finetune`, at a low priority; it ends with whoever began it.

    Parameters
    ----------
    run : folder of the run
    ids : of the pool
    labels : to learn from
    """

    def __init__(self, run: str, ids: pl.Series, labels: Labels, seed: int) -> None:
        self.ids, self.n_labels = ids, len(labels)
        self.folder = Path(tempfile.mkdtemp(prefix="anomaly-tuning-"))
        # Of an item that was judged twice the last word counts.
        said = dict(zip(labels.items.tolist(), labels.verdicts.tolist(), strict=True))
        self.key = "id" if "id" in pl.read_parquet_schema(Path(run) / "scores.parquet") else "sequence"
        table = pl.DataFrame({self.key: ids[list(said)], "label": list(said.values())})
        table.write_parquet(self.folder / "labels.parquet")
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                _command(run, self.folder, seed),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        self.end = weakref.finalize(self, _end, self.process, self.folder)

    @property
    def _errors(self) -> Path:
        return self.folder / "errors.txt"

    def posterior(self) -> Floats | None:
        """Return (n,) the tuned posterior of the pool; None where it failed or hidden labels do not speak for it."""
        facts = self.folder / "run" / "data.json"
        if self.process.returncode or not facts.is_file():
            said = self._errors.read_text(errors="replace").strip().splitlines()
            _LOG.warning(
                "the tuning of the network failed: %s", said[-1] if said else f"exit {self.process.returncode}"
            )
            return None
        told = json.loads(facts.read_text(encoding="utf-8"))["finetuned"]
        if not (told["helps"] and told["network_heard"]):
            return None
        scores = pl.read_parquet(self.folder / "run" / "scores.parquet", columns=[self.key, "posterior"])
        pool = pl.DataFrame({self.key: self.ids}).join(scores, on=self.key, how="left", maintain_order="left")
        return np.asarray(pool["posterior"].fill_null(0.0).to_numpy(), np.float64)


def _command(run: str, folder: Path, seed: int) -> list[str]:
    command = [sys.executable, "-m", "anomaly", "finetune", f"run={run}", f"out={folder / 'run'}"]
    command += [f"labels={folder / 'labels.parquet'}", f"seed={seed}", "quiet=true"]
    return [*(["nice", "-n", "10"] if shutil.which("nice") else []), *command]


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End a process that still runs, and remove its folder."""
    if process.poll() is None:
        process.terminate()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
