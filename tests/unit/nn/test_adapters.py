"""Which weights move, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomaly.errors import ConfigError
from anomaly.models.next_event import NextEventModel
from anomaly.nn.adapters import Trains, adapted
from anomaly.nn.encoders import Cell
from anomaly.sequences.batch import scoring_batches
from anomaly.sequences.store import SequenceStore

CELLS: tuple[Cell, ...] = ("gru", "lstm", "tcn", "transformer")


def model_and_batch(cell: Cell) -> tuple[NextEventModel, object]:
    rng = np.random.default_rng(0)
    X = SequenceStore.from_codes(rng.integers(3, 40, (60, 2)), np.full(12, 5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NextEventModel.for_store(X, cell=cell, width=16, layers=2, heads=2, dropout=0.0).eval()
    (batch, _), *_ = scoring_batches(X, 1000)
    return model, batch


def moved(model: NextEventModel, batch: object, trains: Trains) -> tuple[set[str], float]:
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        with adapted(model, model.encoder, trains, rank=2) as share:
            weights = [p for p in model.parameters() if p.requires_grad]
            optimizer = torch.optim.SGD(weights, lr=1.0) if weights else None
            for _ in range(2 if optimizer else 0):
                assert optimizer is not None
                optimizer.zero_grad()
                model.embed(batch).square().sum().backward()  # type: ignore[arg-type]
                optimizer.step()
            with torch.no_grad():
                live = model.embed(batch)  # type: ignore[arg-type]
    with torch.no_grad():
        torch.testing.assert_close(model.embed(batch), live)  # type: ignore[arg-type]
    after = dict(model.named_parameters())
    assert set(after) == set(before) and all(p.requires_grad for p in after.values())
    return {name for name, p in after.items() if not torch.equal(p, before[name])}, share


@pytest.mark.parametrize("cell", CELLS)
def test_lora_moves_the_encoder_alone_and_joins_it(cell: Cell) -> None:
    pytest.importorskip("peft")
    names, share = moved(*model_and_batch(cell), "lora")
    assert names and all(name.startswith("encoder.") for name in names)
    assert 0 < share < 0.35


@pytest.mark.parametrize("cell", CELLS)
def test_top_k_moves_the_last_layer(cell: Cell) -> None:
    names, share = moved(*model_and_batch(cell), "top_k")
    assert names and all(name.startswith("encoder.") for name in names)
    assert not any("_l0" in name or "blocks.0." in name for name in names)
    assert 0 < share < 1


def test_full_moves_everything_that_matters_and_head_nothing() -> None:
    names, share = moved(*model_and_batch("gru"), "full")
    assert share == 1 and "embedding.fields.table.weight" in names
    assert moved(*model_and_batch("gru"), "head") == (set(), 0.0)


def test_another_word_is_refused() -> None:
    model, batch = model_and_batch("gru")
    with pytest.raises(ConfigError, match="trains=all"):
        moved(model, batch, "all")  # type: ignore[arg-type]
