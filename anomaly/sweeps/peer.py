"""A competitor that is a program in an environment of its own.

It finds a folder: ``task.json`` (kind, seed, fields), and of a table ``fit.npy``, ``score.npy`` and perhaps
``labels.npy``; of sequences ``fit.parquet`` and ``score.parquet``, one row per event: ``item`` (from 0), a column of
codes for each field, a column for each number, ``gap`` (seconds). It leaves ``scores.npy``, and perhaps
``seconds.json``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.errors import ConfigError, DataError
from anomaly.sweeps.competitors import NONE_LABELLED, Clock, Competitor, Outcome
from anomaly.sweeps.task import SequenceTask, TableTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly.sequences.store import SequenceStore
    from anomaly.sweeps.task import Task


class Peer(Competitor):
    """Run a program on a task.

    Parameters
    ----------
    program : a Python file, from the root of the checkout unless it is absolute
    peers : folder of the environments, ~/.cache/anomaly/peers unless stated
    environment : name of the one that the program needs; None runs it in this one
    options : handed on in task.json
    """

    def __init__(
        self,
        *,
        program: str,
        peers: str | None = None,
        environment: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.program = program
        self.peers = peers
        self.environment = environment
        self.options = options

    def told(self) -> Any:
        """Return the program's text, and that of what lies beside it."""
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(self._program.parent.glob("*.py"))}

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """Return the versions of what its environment was made for, and of what it has in place of this one's."""
        folder = self._folder
        if folder is None or not (folder / "installed.json").is_file():
            return {}
        sites = [str(path) for path in folder.glob("lib/python*/site-packages")]
        # What a broken installation has left may have no name.
        found = {_plain(each.name): each.version for each in distributions(path=sites) if each.name}
        wanted = [*names, *_requirements(folder / "installed.json")]
        return {name: found[_plain(name)] for name in wanted if _plain(name) in found}

    def compete(self, task: Task) -> Outcome:
        """Hand the task over, wait, and read the scores."""
        python = self._python()
        if task.labels is not None and not (task.labels == 1).any():
            raise DataError(NONE_LABELLED)
        with tempfile.TemporaryDirectory(prefix="peer-") as name:
            folder = Path(name)
            clock = Clock()
            _hand_over(task, folder, self.options or {})
            clock.lap("prepare")
            command = [python, str(self._program), str(folder)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            clock.lap("fit")
            if ran.returncode or not (folder / "scores.npy").is_file():
                lines = [line for line in ran.stderr.splitlines() if line.strip()] or [f"exit {ran.returncode}"]
                raise DataError(f"{self._program.name}: {lines[-1][:200]}")
            told = folder / "seconds.json"
            seconds = json.loads(told.read_text()) if told.is_file() else {}
            scores = np.load(folder / "scores.npy", allow_pickle=False)
        return Outcome(np.asarray(scores, np.float64), {**clock.seconds, **seconds})

    @property
    def _program(self) -> Path:
        return Path(__file__).parents[2] / self.program

    @property
    def _folder(self) -> Path | None:
        if self.environment is None:
            return None
        return Path(self.peers or "~/.cache/anomaly/peers").expanduser() / self.environment

    def _python(self) -> str:
        if not self._program.is_file():
            raise ConfigError(f"{self._program}: no such program; peers run from a checkout")
        folder = self._folder
        if folder is None:
            return sys.executable
        if not (folder / "installed.json").is_file():
            failed = folder / "failed.txt"
            last = failed.read_text().strip().splitlines()[-1] if failed.is_file() else ""
            why = f"cannot be installed: {last}" if last else f"python benchmarks/peers/install.py {self.environment}"
            raise ConfigError(f"{folder}: no such environment; {why}")
        return str(folder / "bin" / "python")


def _requirements(path: Path) -> list[str]:
    """Return the names of the packages that an environment was made for; one made by hand may not tell."""
    try:
        told = json.loads(path.read_text(encoding="utf-8")).get("requirements", [])
    except (ValueError, AttributeError):
        return []
    return [found[0] for each in told if (found := re.match(r"[\w.-]+", str(each)))]


def _plain(name: str) -> str:
    """Return a package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _hand_over(task: Task, folder: Path, options: dict[str, Any]) -> None:
    told: dict[str, Any] = {"kind": task.kind, "seed": task.seed, "options": options}
    if isinstance(task, SequenceTask):
        if task.level == "event":
            raise ConfigError(f"{task.name}: this peer scores sequences, not events")
        fitted, store = task.prepared
        told["fields"] = {f.name: f.size for f in store.fields if f.kind != "clock"}
        told["values"] = list(store.value_names)
        told["items"] = len(store)
        _events(fitted.store).write_parquet(folder / "fit.parquet")
        _events(store).write_parquet(folder / "score.parquet")
    elif isinstance(task, TableTask):
        np.save(folder / "fit.npy", task.fit.values)
        np.save(folder / "score.npy", task.score.values)
        if task.labels is not None:
            np.save(folder / "labels.npy", task.labels)
    (folder / "task.json").write_text(json.dumps(told), encoding="utf-8")


def _events(store: SequenceStore) -> pl.DataFrame:
    columns: dict[str, Any] = {"item": np.repeat(np.arange(len(store)), store.lengths)}
    columns |= {f.name: store.codes[:, k].astype(np.int64) for k, f in enumerate(store.fields)}
    columns |= {f"value.{name}": store.values[:, g] for g, name in enumerate(store.value_names)}
    return pl.DataFrame({**columns, "gap": np.nan_to_num(store.delta)})
