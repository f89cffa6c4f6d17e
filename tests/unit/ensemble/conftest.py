"""A shop of steady habits with a few sequences that break them, and a cheap ensemble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.robust import RobustZDetector
from anomaly.ensemble.combine import CorruptionMixture
from anomaly.ensemble.pipeline import CalibratedEnsemble
from anomaly.features.aggregates import SequenceAggregates
from anomaly.scores.calibration import SplitConformal
from anomaly.sequences.corrupt import HandOver, Scramble
from anomaly.sequences.rearrange import Insert, RandomEvents, Shuffle, Skip
from anomaly.sequences.store import FIRST_VALUE, Field, SequenceStore

KINDS = {
    "insert": Insert(),
    "skip": Skip(),
    "shuffle": Shuffle(),
    "random_events": RandomEvents(),
    "scramble": Scramble(),
    "hand_over": HandOver(),
}


def make_store(n: int = 200, planted: int = 0, seed: int = 0, *, closed: bool = True) -> SequenceStore:
    """Return sequences that walk around a ring of eight codes; the last `planted` ones jump about."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 15, n)
    entity = (1 + np.arange(n) % 5).astype(np.int32)
    owner = np.repeat(np.arange(n), lengths)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    step = (position + np.repeat(rng.integers(0, 8, n), lengths) + (rng.random(len(owner)) < 0.05)) % 8
    odd = owner >= n - planted
    step[odd] = rng.integers(0, 8, int(odd.sum()))
    shelf = (step + np.repeat(entity, lengths)) % 6
    delta = rng.exponential(30.0, len(owner)).astype(np.float32)
    delta[position == 0] = 0.0
    fields = (Field("page", "categorical", FIRST_VALUE + 8), Field("shelf", "categorical", FIRST_VALUE + 6))
    codes = FIRST_VALUE + np.stack([step, shelf], 1)
    store = SequenceStore.from_codes(codes, lengths, fields=fields, delta=delta, entity=entity, closed=closed)
    ids = pl.Series("sequence", [f"s{k}" for k in range(n)])
    return replace(store, n_entities=6, sequence_ids=ids)


def make_ensemble(**options: Any) -> CalibratedEnsemble:
    """Return an unfitted ensemble of two cheap members."""
    made: dict[str, Any] = {
        "members": {"ngram": NGramDetector(), "robust_z": RobustZDetector()},
        "calibrator": SplitConformal(smallest_bucket=40),
        "combiner": CorruptionMixture(),
        "corruptions": KINDS,
        "aggregates": SequenceAggregates(max_values=6, max_transitions=4),
    }
    return CalibratedEnsemble(**(made | options))


@pytest.fixture(scope="session")
def store_of() -> Callable[..., SequenceStore]:
    return make_store


@pytest.fixture(scope="session")
def ensemble_of() -> Callable[..., CalibratedEnsemble]:
    return make_ensemble


@pytest.fixture(scope="session")
def fitted() -> CalibratedEnsemble:
    """Return the ensemble, fitted on 300 sequences without planted ones; never fit it again."""
    return make_ensemble().fit(make_store(300))
