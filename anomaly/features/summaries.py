"""The groups of features that describe one block of sequences.

Each function returns named columns. Shapes: T events, N sequences, K chosen codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.features.segments import segment_max, segment_mean, segment_min, segment_sum

Float = NDArray[np.float64]
Columns = dict[str, Float]


def gap_columns(delta: NDArray[np.float32], offsets: NDArray[np.int64]) -> Columns:
    """Return statistics of the gaps between a sequence's events; NaN where there is none."""
    lengths = np.diff(offsets)
    steps = np.maximum(np.nan_to_num(delta.astype(np.float64)), 0.0)
    first = offsets[:-1][lengths > 0]
    steps[first] = 0.0
    gaps = np.maximum(lengths - 1, 0)
    n = np.where(gaps > 0, gaps, np.nan)
    log = np.log1p(steps)
    zero = (steps == 0).astype(np.float64)
    zero[first] = 0.0
    smallest = log.copy()
    smallest[first] = np.inf
    span = segment_sum(steps, offsets)
    mean = segment_sum(log, offsets) / n
    spread = np.sqrt(np.maximum(segment_sum(log**2, offsets) / n - mean**2, 0.0))
    seconds = span / n
    deviation = np.sqrt(np.maximum(segment_sum(steps**2, offsets) / n - seconds**2, 0.0))
    return {
        "span.log": np.log1p(span),
        "rate.log": np.log1p(gaps) - np.log1p(span),
        "gap.mean_log": mean,
        "gap.std_log": spread,
        "gap.min_log": np.where(gaps > 0, segment_min(smallest, offsets), np.nan),
        "gap.max_log": np.where(gaps > 0, segment_max(log, offsets), np.nan),
        "gap.cv": deviation / np.where(seconds > 0, seconds, np.nan),
        "gap.burstiness": (deviation - seconds) / np.where(deviation + seconds > 0, deviation + seconds, np.nan),
        "gap.zero_share": segment_sum(zero, offsets) / n,
    }


def value_columns(values: NDArray[np.float32], names: tuple[str, ...], offsets: NDArray[np.int64]) -> Columns:
    """Return smallest, mean, largest and standard deviation of every numeric column."""
    out: Columns = {}
    for g, name in enumerate(names):
        column = values[:, g].astype(np.float64)
        mean = segment_mean(column, offsets)
        centered = column - np.repeat(mean, np.diff(offsets))
        out[f"{name}.min"] = segment_min(column, offsets)
        out[f"{name}.mean"] = mean
        out[f"{name}.max"] = segment_max(column, offsets)
        out[f"{name}.std"] = np.sqrt(segment_mean(centered**2, offsets))
    return out


def variety(codes: NDArray[Any], size: int, offsets: NDArray[np.int64]) -> tuple[Float, Float]:
    """Return (N,) numbers of distinct codes and the entropies, in nats, of each sequence's codes."""
    lengths = np.diff(offsets)
    n = len(lengths)
    sequence = np.repeat(np.arange(n), lengths)
    # Half as wide is sorted twice as fast.
    width = np.uint32 if n * size < 1 << 32 else np.int64
    packed = np.sort((sequence * np.int64(size) + codes).astype(width, copy=False))
    fresh = np.ones(len(packed), bool)
    fresh[1:] = packed[1:] != packed[:-1]
    starts = np.flatnonzero(fresh)
    counts = np.diff(starts, append=len(packed))
    owner = packed[starts].astype(np.int64) // size
    distinct = np.bincount(owner, minlength=n).astype(np.float64)
    weighted = np.bincount(owner, weights=counts * np.log(counts), minlength=n)
    total = np.maximum(lengths, 1)
    return distinct, np.maximum(np.log(total) - weighted / total, 0.0)


def chosen_counts(slots: NDArray[np.int64], n_slots: int, offsets: NDArray[np.int64]) -> Float:
    """Return (N, K) counts of the events' slots; slot K stands for everything else and is left out."""
    n = len(offsets) - 1
    sequence = np.repeat(np.arange(n), np.diff(offsets))
    flat = np.bincount(sequence * (n_slots + 1) + slots, minlength=n * (n_slots + 1))
    return flat.reshape(n, n_slots + 1)[:, :n_slots].astype(np.float64)
