"""Fine-tuning draws from its own seed alone, and counts the weights that it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from anomaly.detectors.finetuned import FineTunedDetector
from anomaly.detectors.neural import NeuralDetector
from anomaly.models.finetune import Lessons, Tuned, TuningPlan, fine_tune, make_folds
from anomaly.models.objectives import EVENT_MODELS
from anomaly.nn.adapters import TRAINS
from anomaly.sequences.batch import cut

Make = Callable[..., Any]


@pytest.fixture
def tune(store_of: Make, model_of: Make) -> Callable[..., Tuned]:
    """Return a fine-tuning of a small model on 24 sequences, of which ten are labelled."""
    store = store_of(np.full(24, 6))
    y = np.repeat([1, 0, -1], [4, 6, 14])

    def run(**options: Any) -> Tuned:
        model = model_of(store)
        plan = TuningPlan(max_epochs=1, **options)
        return fine_tune(model, Lessons(store, cut(store), y), make_folds(y, 2), plan)

    return run


@pytest.mark.parametrize("trains", TRAINS)
def test_the_callers_randomness_neither_matters_nor_moves(trains: str, tune: Callable[..., Tuned]) -> None:
    if trains == "lora":
        pytest.importorskip("peft")
    found = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            found.append(tune(trains=trains))
            assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(found[0].out_of_fold, found[1].out_of_fold)
    for one, other in zip(found[0].model.parameters(), found[1].model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_share_of_lora_is_of_the_weights_that_the_model_has(tune: Callable[..., Tuned]) -> None:
    pytest.importorskip("peft")
    tuned = tune(trains="lora", rank=2)
    own = sum(p.numel() for p in tuned.head.parameters())
    whole = sum(p.numel() for p in tuned.model.parameters())
    # Two matrices of a cell of width 16, 48 x 16 each: 2 (48 + 16) additions of rank 2 for each.
    assert tuned.share == pytest.approx((2 * 2 * (48 + 16) + own) / (whole + own))


@pytest.mark.parametrize("objective", EVENT_MODELS)
def test_every_model_of_events_learns_what_single_events_are(objective: str, store_of: Make, model_of: Make) -> None:
    store = store_of(np.full(10, 6))
    y = np.resize([1, 0, -1], store.n_events)
    cell = "transformer" if objective == "masked" else "gru"
    detector = NeuralDetector(objective=objective, accelerator="cpu")
    detector.model_ = model_of(store, cell, EVENT_MODELS[objective])  # type: ignore[index]
    tuned = FineTunedDetector(unit="event", trains="full", max_epochs=1).fit(store, y, trained=detector)
    assert np.isfinite(tuned.out_of_fold_[y >= 0]).all()
    assert tuned.decision_function(store).shape == (store.n_events,)
