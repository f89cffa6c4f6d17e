"""`anomaly finetune` in a process beside a labelling session, which it does not outlive.

Run as a module it is that process: it ends, and takes its folder away, once its standard input does.

Shapes: n items of the pool.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from anomaly.artifact.run import Run
from anomaly.base import Estimator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly.active.records import Labels

_LOG = logging.getLogger("anomaly")


class FinetuneCommand(Estimator):
    """Tune the network of a run on labels.

    Parameters
    ----------
    run : folder of the run whose items are ranked
    """

    def __init__(self, *, run: str) -> None:
        self.run = run
        # Neither a parameter nor an attribute that is kept: no file widens what may be built.
        self._allow: tuple[str, ...] = ()

    def allowing(self, packages: Sequence[str]) -> Self:
        """Return the command itself, whose process may build classes of further packages.

        Parameters
        ----------
        packages : those that the command line names
        """
        self._allow = tuple(packages)
        return self

    def __sklearn_clone__(self) -> Self:
        return type(self)(run=self.run).allowing(self._allow)

    def begin(self, ids: pl.Series, labels: Labels, seed: int) -> FinetuneProcess:
        """Begin to tune.

        Parameters
        ----------
        ids : (n,) of the pool
        labels : to learn from
        """
        return FinetuneProcess(self.run, ids, labels, seed, self._allow)


class FinetuneProcess:
    """One `anomaly finetune`, at a low priority; it ends with whoever began it."""

    def __init__(self, run: str, ids: pl.Series, labels: Labels, seed: int, allow: Sequence[str] = ()) -> None:
        self.ids = ids
        self.folder = Path(tempfile.mkdtemp(prefix="anomaly-tuning-"))
        self.key = "id" if Run(run).facts["unit"] == "event" else "sequence"
        # Of an item that was judged twice the last word counts.
        said = dict(zip(labels.items.tolist(), labels.verdicts.tolist(), strict=True))
        table = pl.DataFrame({self.key: ids[list(said)], "label": list(said.values())})
        table.write_parquet(self.folder / "labels.parquet")
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                _command(run, self.folder, seed, allow),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        self._end = weakref.finalize(self, _end, self.process, self.folder)

    @property
    def _errors(self) -> Path:
        return self.folder / "errors.txt"

    def ended(self) -> bool:
        """Return whether it has come to its end, well or not."""
        return self.process.poll() is not None

    def wait(self) -> None:
        """Return when it has ended."""
        self.process.wait()

    def posterior(self) -> NDArray[np.float64] | None:
        """Return (n,) the tuned posterior of the pool; None where it failed or hidden labels do not speak for it."""
        tuned = Run(self.folder / "run")
        if self.process.returncode or not tuned.finished:
            said = self._errors.read_text(errors="replace").strip().splitlines()
            _LOG.warning(
                "the tuning of the network failed: %s", said[-1] if said else f"exit {self.process.returncode}"
            )
            return None
        told = tuned.facts["finetuned"]
        if not (told["helps"] and told["network_heard"]):
            return None
        pool = pl.DataFrame({self.key: self.ids}).join(
            tuned.scores.select(self.key, "posterior"), on=self.key, how="left", maintain_order="left"
        )
        return np.asarray(pool["posterior"].fill_null(0.0).to_numpy(), np.float64)

    def end(self) -> None:
        """End it where it still runs, and take its folder away."""
        self._end()


def _command(run: str, folder: Path, seed: int, allow: Sequence[str]) -> list[str]:
    given = [f"run={run}", f"out={folder / 'run'}", f"labels={folder / 'labels.parquet'}", f"seed={seed}", "quiet=true"]
    if allow:
        given.append(f"allow=[{','.join(allow)}]")
    return [sys.executable, "-m", "anomaly.commands.tuning", str(folder), *given]


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
    shutil.rmtree(folder, ignore_errors=True)


def _outlive_nobody(folder: str) -> None:
    """End when the other end of the pipe is gone: whoever was killed can end nothing and take nothing away."""
    # Not through sys.stdin: its lock, held here, would fail an interpreter that shuts down.
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def main(folder: str, given: list[str]) -> int:
    """Fine-tune at a low priority, while whoever began it lives."""
    from anomaly.commands.dispatch import dispatch

    threading.Thread(target=_outlive_nobody, args=(folder,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(10)
    return dispatch(["finetune", *given])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
