"""What a peer is handed and what it leaves; see anomaly/sweeps/peer.py."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


@dataclass
class Sequences:
    """Ragged codes: sequence n holds rows ``offsets[n]:offsets[n + 1]`` of `events`."""

    events: pl.DataFrame
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass
class Exchange:
    """One task."""

    folder: Path
    told: dict[str, Any]
    begun: float

    def option(self, name: str, default: Any) -> Any:
        """Return an option of the configuration."""
        return self.told["options"].get(name, default)

    def table(self, name: str) -> np.ndarray:
        """Return an array: fit, score or labels."""
        if self.told["kind"] != "table":
            raise SystemExit("this peer reads tables, not sequences")
        path = self.folder / f"{name}.npy"
        if name == "labels" and not path.is_file():
            raise SystemExit(
                "this peer learns from labels, and the sweep gives none: sweep.labels=[0.05] labels a share"
            )
        return np.load(path)

    def sequences(self, name: str) -> Sequences:
        """Return the events to learn from (fit) or to score (score)."""
        if self.told["kind"] != "sequences":
            raise SystemExit("this peer reads sequences, not tables")
        events = pl.read_parquet(self.folder / f"{name}.parquet")
        n = self.told["items"] if name == "score" else int(events["item"].max()) + 1
        return Sequences(events, np.concatenate([[0], np.cumsum(np.bincount(events["item"].to_numpy(), minlength=n))]))

    def finish(self, scores: np.ndarray, fitted: float) -> None:
        """Leave the scores; `fitted` is the time at which the learning ended."""
        np.save(self.folder / "scores.npy", np.asarray(scores, np.float64))
        seconds = {"fit": fitted - self.begun, "score": time.perf_counter() - fitted}
        (self.folder / "seconds.json").write_text(json.dumps(seconds))


def take(argument: str) -> Exchange:
    """Return the task in a folder."""
    folder = Path(argument)
    return Exchange(folder, json.loads((folder / "task.json").read_text()), time.perf_counter())


def padded(sequences: Sequences, field: str, longest: int) -> np.ndarray:
    """Return (N, longest) codes of one field shifted by one, 0 behind the end; what is longer is cut."""
    codes, lengths = sequences.events[field].to_numpy(), np.minimum(np.diff(sequences.offsets), longest)
    out = np.zeros((len(sequences), longest), np.int64)
    column = np.arange(longest)
    inside = column < lengths[:, None]
    out[inside] = codes[(sequences.offsets[:-1, None] + column)[inside]] + 1
    return out
