"""On a CUDA device: the packed form equals the plain one, and every model trains and scores as on a CPU."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from anomaly.detectors.embedding import EmbeddingDetector
from anomaly.detectors.neural import NeuralDetector
from anomaly.models.objectives import EVENT_MODELS
from anomaly.nn.attention import takes_packed
from anomaly.nn.encoders import CELLS, TransformerEncoder
from anomaly.nn.residuals import Residuals
from anomaly.sequences.batch import SequenceBatch, collate, cut
from anomaly.sequences.device import DeviceColumns, takes
from anomaly.sequences.store import FIRST_VALUE, SequenceStore

pytestmark = pytest.mark.gpu


def shop(n: int = 40, seed: int = 0, closed: bool = True) -> SequenceStore:
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
    return replace(store, n_entities=4, closed=closed)


CASES = [
    *(("next_event", cell) for cell in CELLS),
    *(("autoencoder", cell) for cell in CELLS),
    *(("variational", "gru"), ("masked", "transformer")),
]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", [[1, 40, 7, 128], [5], [33] * 9, [1, 1, 2]])
def test_packed_attention_is_the_plain_form(causal: bool, lengths: list[int]) -> None:
    torch.manual_seed(0)
    model = TransformerEncoder(width=32, layers=2, heads=4, dropout=0.0, causal=causal).cuda()
    cu = torch.tensor([0, *lengths], device="cuda").cumsum(0)
    x = torch.randn(sum(lengths), 32, device="cuda")
    start = torch.randn(len(lengths), 32, device="cuda")
    weight = torch.randn(sum(lengths), 32, device="cuda")
    found = {}
    for packed in (False, True):
        own = x.clone().requires_grad_()
        with torch.autocast("cuda", torch.bfloat16, enabled=packed):
            assert takes_packed(own) == packed
            before, after = model(own, start, cu, max(lengths))
        ((before + after).float() * weight).sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        found[packed] = [before.float(), after.float(), own.grad, *gradients]
    for plain, other in zip(found[False], found[True], strict=True):
        # Half precision keeps eight bits.
        scale = float(plain.detach().abs().max())
        torch.testing.assert_close(other, plain, atol=3e-2 * scale, rtol=3e-2)


@torch.no_grad()
def test_a_packed_sequence_is_judged_alone() -> None:
    torch.manual_seed(0)
    model = TransformerEncoder(width=32, layers=2, heads=4, dropout=0.0).cuda().eval()
    lengths = [1, 40, 7, 128]
    cu = torch.tensor([0, *lengths], device="cuda").cumsum(0)
    x, start = torch.randn(sum(lengths), 32, device="cuda"), torch.randn(len(lengths), 32, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        before, after = model(x, start, cu, max(lengths))
        for n, length in enumerate(lengths):
            own = slice(int(cu[n]), int(cu[n + 1]))
            alone = model(x[own], start[n : n + 1], torch.tensor([0, length], device="cuda"), length)
            torch.testing.assert_close(before[own], alone[0], atol=3e-2, rtol=3e-2)
            torch.testing.assert_close(after[own], alone[1], atol=3e-2, rtol=3e-2)


def test_the_store_lies_on_the_device() -> None:
    store = shop()
    device = torch.device("cuda")
    assert takes(device, store)
    pieces = cut(store, 16)
    columns = DeviceColumns(store, device)
    chosen = np.random.default_rng(0).permutation(len(pieces))
    found, expected = columns.collate(pieces, chosen), collate(store, pieces, chosen)
    for f in fields(SequenceBatch):
        here, there = getattr(found, f.name), getattr(expected, f.name)
        if isinstance(there, torch.Tensor):
            assert here.device.type == "cuda"
            assert torch.equal(here.cpu(), there), f.name
        else:
            assert here == there, f.name


@torch.no_grad()
@pytest.mark.parametrize(("objective", "cell"), CASES)
def test_residuals_equal_those_of_a_cpu(objective: Any, cell: Any) -> None:
    store = shop()
    model = EVENT_MODELS[objective].for_store(store, cell=cell, width=32).eval()
    pieces = cut(store)
    batch = collate(store, pieces, np.arange(len(pieces)))
    expected = model.residuals(batch)
    found = model.cuda().residuals(batch.to("cuda"))
    for f in fields(Residuals):
        here, there = getattr(found, f.name).cpu(), getattr(expected, f.name)
        close = torch.isclose(here, there, atol=1e-3, rtol=1e-3, equal_nan=True)
        # A tail counts the values that are no more probable: where two are equally so, rounding decides.
        assert (~close).sum() <= (here.numel() // 1000 if f.name == "tail_TF" else 0), f.name


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("objective", "cell"), [*CASES, ("contrastive", "gru"), ("one_class", "gru")])
def test_it_trains_and_scores(objective: Any, cell: Any, closed: bool) -> None:
    X = shop(80, closed=closed)
    kind = NeuralDetector if objective in EVENT_MODELS else EmbeddingDetector
    options: dict[str, Any] = {"width": 32, "latent": 8, "max_epochs": 3, "longest": 32, "max_time": None}
    found = kind(objective=objective, cell=cell, accelerator="gpu", **options).fit(X)
    assert np.isfinite(found.decision_scores_).all()
    assert found.curve_[-1]["held_out_loss"] < found.curve_[0]["held_out_loss"]
    test = shop(30, seed=1, closed=closed)
    alone = np.concatenate([found.decision_function(test.take([k])) for k in range(len(test))])
    np.testing.assert_allclose(alone, found.decision_function(test), rtol=1e-3, atol=1e-3)


def test_fused_kernels_learn_what_single_ones_do() -> None:
    X, options = shop(80), {"width": 32, "max_epochs": 2, "dropout": 0.0, "entity_dropout": 0.0, "max_time": None}
    plain, fused = (
        NeuralDetector(cell="transformer", accelerator="gpu", compile=compile, **options).fit(X)
        for compile in (False, True)
    )
    for one, other in zip(plain.curve_, fused.curve_, strict=True):
        assert other == pytest.approx(one, rel=2e-2)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_states_are_carried_on(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from anomaly.models import base

    options: dict[str, Any] = {"width": 32, "max_epochs": 1, "longest": 32, "max_time": None}
    found = NeuralDetector(cell=cell, accelerator="gpu", **options).fit(shop(80))
    whole = found.score_fields(shop(30, seed=1))
    monkeypatch.setattr(base, "CHUNK", 7)
    np.testing.assert_allclose(found.score_fields(shop(30, seed=1)), whole, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_train_as_one() -> None:
    X, options = shop(80), {"width": 32, "max_epochs": 2, "dropout": 0.0, "entity_dropout": 0.0, "max_time": None}
    curves = [
        NeuralDetector(accelerator="gpu", precision="32-true", devices=n, **options).fit(X).curve_ for n in (1, 2)
    ]
    for one, two in zip(*curves, strict=True):
        assert two == pytest.approx(one, rel=1e-2)
