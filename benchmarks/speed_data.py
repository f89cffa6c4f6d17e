"""The data that training and scoring are timed on: 5 fields, heavy-tailed lengths; and how two jobs are compared."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.sequences.store import Field, SequenceStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SIZES = (12, 36, 70, 200, 300)
"""Codes of the five fields; 618 together."""
N_SEQUENCES = 20_000
MEAN_LENGTH = 33.0
LONGEST = 2_000
SIGMA = 0.9


def speed_store(
    n: int = N_SEQUENCES,
    *,
    sizes: Sequence[int] = SIZES,
    n_entities: int = 0,
    timed: bool = False,
    random_state: int = 0,
) -> SequenceStore:
    """Return sequences with log-normal lengths of mean 33.

    Parameters
    ----------
    sizes : codes of each field
    n_entities : entities that own the sequences; 0 means no profiles
    timed : whether events carry the time since the one before
    """
    rng = np.random.default_rng(random_state)
    lengths = np.clip(rng.lognormal(np.log(MEAN_LENGTH) - SIGMA**2 / 2, SIGMA, n), 1, LONGEST).astype(np.int64)
    events = int(lengths.sum())
    # Zipf-like codes: a field's frequent values are much more frequent than the others, as in logs.
    codes = [(rng.random(events) ** 3 * (size - 3)).astype(np.int32) + 3 for size in sizes]
    return SequenceStore.from_codes(
        np.column_stack(codes),
        lengths,
        fields=[Field(f"field{k}", "categorical", size) for k, size in enumerate(sizes)],
        delta=rng.lognormal(3.0, 2.0, events).astype(np.float32) if timed else None,
        entity=rng.integers(1, n_entities + 1, n).astype(np.int32) if n_entities else None,
    )


def interleave(jobs: Mapping[str, Callable[[int], int]], repeats: int) -> dict[str, dict[str, Any]]:
    """Run the jobs in turn and return each one's events per second, of wall and of processor time.

    Parameters
    ----------
    jobs : each takes the number of its turn and returns the events it has handled; turn -1 warms it up, untimed

    Each job's turn runs right after the other's, so that what else the machine does weighs on all of them alike.
    """
    for job in jobs.values():
        job(-1)
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    processor: dict[str, list[float]] = {name: [] for name in jobs}
    gc.disable()
    for turn in range(repeats):
        for name, job in jobs.items():
            begun, spent = time.perf_counter(), time.process_time()
            events = job(turn)
            wall[name].append(events / (time.perf_counter() - begun))
            processor[name].append(events / (time.process_time() - spent))
    gc.enable()
    return {name: _rates(wall[name], processor[name]) for name in jobs}


def ratio(rates: Mapping[str, dict[str, Any]], fast: str, slow: str) -> dict[str, float]:
    """Return how many times faster one job is: the median over turns of the ratio within a turn, and its quartiles."""
    each = np.array(rates[fast]["turns"]) / np.array(rates[slow]["turns"])
    low, median, high = np.quantile(each, [0.25, 0.5, 0.75])
    processor = rates[fast]["events_per_core_second"] / rates[slow]["events_per_core_second"]
    found = {"median": median, "quarter": low, "three_quarters": high, "of_processor_time": processor}
    return {name: round(float(value), 3) for name, value in found.items()}


def _rates(wall: list[float], processor: list[float]) -> dict[str, Any]:
    return {
        "events_per_second": round(float(np.median(wall))),
        "events_per_core_second": round(float(np.median(processor))),
        "turns": [round(x) for x in wall],
    }
