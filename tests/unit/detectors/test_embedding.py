"""The embedding detector: finds whose behaviour it is not, and what no one does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anomaly.detectors.embedding import EmbeddingDetector
from anomaly.metrics.ranking import auroc
from anomaly.models import base
from anomaly.sequences.store import FIRST_VALUE, SequenceStore

TINY: dict[str, Any] = {
    "width": 16,
    "latent": 8,
    "max_epochs": 12,
    "patience": 4,
    "longest": 32,
    "dropout": 0.0,
    "learning_rate": 0.02,
    "batch_tokens": 512,
    "accelerator": "cpu",
    "max_time": None,
}


def habits(n: int = 160, planted: int = 0, seed: int = 0) -> SequenceStore:
    """Return sequences of four entities that each prefer two of eight codes; the planted ones take any."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 24, n)
    entity = (1 + np.arange(n) % 4).astype(np.int32)
    owner = np.repeat(np.arange(n), lengths)
    codes = 2 * np.repeat(entity - 1, lengths) + rng.integers(0, 2, len(owner))
    odd = owner >= n - planted
    codes[odd] = rng.integers(0, 8, int(odd.sum()))
    return replace(SequenceStore.from_codes(FIRST_VALUE + codes, lengths, entity=entity), n_entities=5)


@pytest.fixture(scope="module")
def fitted() -> dict[str, EmbeddingDetector]:
    return {name: EmbeddingDetector(objective=name, **TINY).fit(habits()) for name in ("contrastive", "one_class")}


@pytest.mark.parametrize("objective", ["contrastive", "one_class"])
def test_what_no_one_does_is_far_away(objective: str, fitted: Any) -> None:
    X = habits(100, planted=15, seed=1)
    assert auroc(np.arange(100) >= 85, fitted[objective].decision_function(X)) > 0.8


@pytest.mark.parametrize("objective", ["contrastive", "one_class"])
def test_what_another_does_is_far_from_the_own(objective: str, fitted: Any) -> None:
    X = habits(80, seed=2)
    stolen = replace(X, entity=(X.entity % 4 + 1).astype(np.int32))
    own, taken = (fitted[objective].statistics(store) for store in (X, stolen))
    assert own.names == ("distance", "contrast")
    labels, scores = np.repeat([0, 1], 80), np.concatenate([own.values[:, 1], taken.values[:, 1]])
    assert auroc(labels, scores) > 0.95
    stranger = fitted[objective].statistics(replace(X, entity=X.entity * 0))
    assert (stranger.values[:, 1] == 0).all()


@pytest.mark.parametrize("objective", ["contrastive", "one_class"])
def test_without_entities_there_is_no_contrast(objective: str) -> None:
    X = replace(habits(60), n_entities=1, entity=np.zeros(60, np.int32))
    found = EmbeddingDetector(objective=objective, **(TINY | {"max_epochs": 2})).fit(X)
    assert found.statistics(X).names == ("distance",)


def test_the_embeddings_do_not_collapse(fitted: Any) -> None:
    for objective, width in (("contrastive", 16), ("one_class", 8)):
        embedding_ND = fitted[objective].embed(habits(80, seed=3))
        assert embedding_ND.shape == (80, width)
        assert embedding_ND.std(axis=0).max() > 1e-2, objective
    assert np.allclose(np.linalg.norm(fitted["contrastive"].embed(habits(9)), axis=1), 1, atol=1e-5)
    assert bool(fitted["one_class"].model_.centred)


def test_pieces_are_one_embedding(fitted: Any, monkeypatch: Any) -> None:
    X = habits(20, seed=4)
    whole = {name: detector.embed(X) for name, detector in fitted.items()}
    monkeypatch.setattr(base, "CHUNK", 5)
    for name, detector in fitted.items():
        np.testing.assert_allclose(detector.embed(X), whole[name], rtol=1e-4, atol=1e-5)
