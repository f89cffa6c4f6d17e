"""Small stores and models that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from anomaly.models.next_event import NextEventModel
from anomaly.sequences.batch import SequenceBatch, collate, cut
from anomaly.sequences.store import FIRST_VALUE, SequenceStore


def make_store(lengths: Any, seed: int = 0, *, closed: bool = True, timed: bool = True) -> SequenceStore:
    """Return sequences of two fields, one number and gaps, of three entities that each prefer codes of their own."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    t = int(lengths.sum())
    entity = rng.integers(1, 4, len(lengths)).astype(np.int32)
    first = FIRST_VALUE + (np.repeat(entity, lengths) + rng.integers(0, 2, t)) % 5
    codes = np.stack([first, FIRST_VALUE + (first + rng.integers(0, 3, t)) % 7], 1)
    delta = np.where(rng.random(t) < 0.2, 0.0, rng.exponential(60.0, t)).astype(np.float32)
    delta[(np.cumsum(lengths) - lengths)[lengths > 0]] = 0.0
    store = SequenceStore.from_codes(
        codes,
        lengths,
        delta=delta if timed else None,
        values=rng.normal(size=(t, 1)).astype(np.float32),
        entity=entity,
        closed=closed,
    )
    return replace(store, n_entities=4)


def make_model(store: SequenceStore, cell: str = "gru", kind: Any = NextEventModel, **options: Any) -> Any:
    """Return an untrained, seeded model with biases and profiles that are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind.for_store(store, cell=cell, width=16, **({"dropout": 0.0} | options))
        with torch.no_grad():
            model.start.normal_()
    return model.eval()


def make_batch(store: SequenceStore, chosen: Any = None) -> SequenceBatch:
    """Return the named whole sequences as one batch."""
    pieces = cut(store)
    return collate(store, pieces, np.arange(len(pieces)) if chosen is None else np.asarray(chosen))


@pytest.fixture(scope="session")
def store_of() -> Callable[..., SequenceStore]:
    return make_store


@pytest.fixture(scope="session")
def model_of() -> Callable[..., Any]:
    return make_model


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., SequenceBatch]:
    return make_batch
