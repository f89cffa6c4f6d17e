"""On a CUDA device: the packed batch equals the plain form, and the model trains and scores as on a CPU."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from anomaly.detectors.neural import NextEventDetector
from anomaly.models.next_event import NextEventModel
from anomaly.nn.encoders import TransformerEncoder
from anomaly.nn.residuals import Residuals
from anomaly.sequences.batch import collate, cut
from anomaly.sequences.store import FIRST_VALUE, SequenceStore

pytestmark = pytest.mark.gpu


def shop(n: int = 40, seed: int = 0) -> SequenceStore:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 60, n)
    t = int(lengths.sum())
    codes = FIRST_VALUE + np.stack([np.arange(t) % 5, rng.integers(0, 9, t)], 1)
    delta = rng.exponential(60.0, t).astype(np.float32)
    store = SequenceStore.from_codes(
        codes,
        lengths,
        delta=delta,
        values=rng.normal(size=(t, 1)).astype(np.float32),
        entity=rng.integers(1, 4, n).astype(np.int32),
    )
    return replace(store, n_entities=4)


@torch.no_grad()
def test_packed_attention_is_the_plain_form() -> None:
    torch.manual_seed(0)
    model = TransformerEncoder(width=32, layers=2, heads=4, dropout=0.0).eval()
    lengths = [1, 40, 7, 128]
    cu = torch.tensor([0, *lengths]).cumsum(0)
    x, start = torch.randn(sum(lengths), 32), torch.randn(len(lengths), 32)
    on_gpu = model.cuda()
    before, after = on_gpu(x.cuda(), start.cuda(), cu.cuda())
    plain = model.cpu()
    for n, length in enumerate(lengths):
        own = slice(int(cu[n]), int(cu[n + 1]))
        alone = plain(x[own], start[n : n + 1], torch.tensor([0, length]))
        torch.testing.assert_close(before[own].cpu(), alone[0], atol=2e-4, rtol=2e-3)
        torch.testing.assert_close(after[own].cpu(), alone[1], atol=2e-4, rtol=2e-3)


@torch.no_grad()
@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_residuals_equal_those_of_a_cpu(cell: Any) -> None:
    store = shop()
    model = NextEventModel.for_store(store, cell=cell, width=32).eval()
    pieces = cut(store)
    batch = collate(store, pieces, np.arange(len(pieces)))
    expected = model.residuals(batch)
    found = model.cuda().residuals(batch.to("cuda"))
    for f in fields(Residuals):
        torch.testing.assert_close(
            getattr(found, f.name).cpu(), getattr(expected, f.name), atol=1e-3, rtol=1e-3, equal_nan=True
        )


@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_it_trains_and_scores(cell: Any) -> None:
    X = shop(80)
    options: dict[str, Any] = {"width": 32, "max_epochs": 3, "longest": 32, "max_time": None}
    found = NextEventDetector(cell=cell, accelerator="gpu", **options).fit(X)
    assert np.isfinite(found.decision_scores_).all()
    assert found.curve_[-1]["train_loss"] < found.curve_[0]["train_loss"]
    test = shop(30, seed=1)
    alone = np.concatenate([found.decision_function(test.take([k])) for k in range(len(test))])
    np.testing.assert_allclose(alone, found.decision_function(test), rtol=1e-3, atol=1e-3)
