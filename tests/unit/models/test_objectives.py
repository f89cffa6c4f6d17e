"""What each objective promises: a bottleneck, masks that cover, crops that belong together, a centre that stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from anomaly.errors import ConfigError
from anomaly.models import masked
from anomaly.models.lightning import SequenceModel
from anomaly.models.objectives import EMBEDDING_MODELS, EVENT_MODELS
from anomaly.models.training import TrainingPlan, train_model
from anomaly.nn.encoders import CELLS
from anomaly.nn.residuals import Residuals
from anomaly.sequences.datamodule import SequenceDataModule

Make = Callable[..., Any]
MODELS = {**EVENT_MODELS, **EMBEDDING_MODELS}
CELL = {"masked": "transformer"}
PLAN: dict[str, Any] = {
    "max_epochs": 3,
    "patience": 10,
    "max_time": None,
    "precision": "32-true",
    "accelerator": "cpu",
    "devices": 1,
    "compile": False,
    "random_state": 0,
}


class Broken(Exception):
    """What stands for a power cut."""


def residuals(model: Any, batch: Any) -> Residuals:
    with torch.no_grad():
        found: Residuals = model.residuals(batch)
    return found


def change(store: Any, at: int) -> Any:
    """Return the store with another event at a place."""
    codes, values, delta = store.codes.copy(), store.values.copy(), store.delta.copy()
    codes[at] = 3 + (codes[at] - 2) % 4
    values[at] += 2
    delta[at] += 500
    return replace(store, codes=codes, values=values, delta=delta)


@pytest.mark.parametrize("objective", MODELS)
def test_lightning_trains_what_judges_and_embeds(
    objective: str, store_of: Make, model_of: Make, batch_of: Make
) -> None:
    store = store_of([9, 9])
    network, batch = model_of(store, CELL.get(objective, "gru"), MODELS[objective]), batch_of(store)
    model = SequenceModel(network)
    assert isinstance(model, pl.LightningModule)
    loss = model.training_step(batch, 0)
    assert loss.ndim == 0 and loss.requires_grad
    with torch.no_grad():
        assert torch.equal(model.embed(batch), network.embed(batch))
    if objective == "contrastive":
        with pytest.raises(TypeError, match="embeddings alone"):
            residuals(model, batch)
    else:
        assert torch.equal(residuals(model, batch).surprisal_TF, residuals(network, batch).surprisal_TF)


@pytest.mark.parametrize("cell", CELLS)
def test_all_that_a_decoder_knows_came_through_the_bottleneck(
    cell: str, store_of: Make, model_of: Make, batch_of: Make
) -> None:
    store = store_of([9, 9])
    model = model_of(store, cell, EVENT_MODELS["autoencoder"], latent=3)
    batch, other = batch_of(store), batch_of(change(store, 4))
    with torch.no_grad():
        latent = model.latent(batch)
        assert latent.shape == (2, 3) and model.embedding_width == 3
        assert (model.latent(other) - latent).abs().max() > 1e-5, "every event counts"
        one, same = model.decode(batch, latent), model.decode(other, latent)
    for found, expected in zip(same, one, strict=True):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)
    torch.testing.assert_close(residuals(model, batch).embedding_ND, latent)


def test_the_divergence_is_charged_and_the_score_draws_nothing(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([9, 4])
    model = model_of(store, "gru", EVENT_MODELS["variational"], latent=3)
    batch = batch_of(store)
    one, other = residuals(model, batch), residuals(model, batch)
    torch.testing.assert_close(one.surprisal_TF, other.surprisal_TF, atol=0, rtol=0)
    nats = one.surprisal_TF.sum(1) + one.gap_surprisal_T
    nats[batch.cu_seqlens[1:] - 1] += one.end_N
    with torch.no_grad():
        charged = model.losses(batch) - nats
    last = batch.cu_seqlens[1:] - 1
    inner = torch.ones(13, dtype=torch.bool)
    inner[last] = False
    assert charged[inner].abs().max() < 1e-5 and (charged[last] >= 3 * 0.25 - 1e-5).all()
    model.train()
    assert not torch.equal(model.losses(batch), model.losses(batch)), "training draws"


def test_every_event_is_hidden_once_and_never_seen_by_itself(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = replace(store_of([13, 6, 1]), n_entities=1)
    model = model_of(store, "transformer", EVENT_MODELS["masked"])
    batch = batch_of(store)
    assert model.predicted(("a",)) == ("a",), "an end cannot surprise who has seen it"
    with torch.no_grad():
        state = model.states(batch)[0]
        for at in (0, 5, 12, 13, 19):
            changed = model.states(batch_of(change(store, at)))[0]
            torch.testing.assert_close(changed[at], state[at], atol=1e-6, rtol=1e-6)
            others = [t for t in range(20) if t != at and (t < 13) == (at < 13) and (t < 19) == (at < 19)]
            assert not others or (changed[others] - state[others]).abs().max() > 1e-5


def test_training_charges_what_is_hidden_in_proportion(
    store_of: Make, model_of: Make, batch_of: Make, monkeypatch: Any
) -> None:
    store = store_of([40] * 30)
    model = model_of(store, "transformer", EVENT_MODELS["masked"], masks=4)
    batch = batch_of(store)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model.train()
        hidden, lost = model._hide(batch)
        assert float(hidden.float().mean()) == pytest.approx(0.25, abs=0.01)
        assert float(lost.float().mean()) == pytest.approx(0.1, abs=0.02)
        both = model.losses(batch)
        monkeypatch.setattr(masked, "FIELD_RATE", 0.0)
        charged = model.losses(batch)
        expected = model.eval().losses(batch).mean()
    assert float(charged.mean()) == pytest.approx(float(expected), rel=0.05)
    assert ((charged != 0).float().mean()) == pytest.approx(0.25, abs=0.01) and (both != 0).float().mean() > 0.3


def test_one_way_cells_cannot_be_masked(store_of: Make, model_of: Make) -> None:
    with pytest.raises(ConfigError, match="cell=transformer"):
        model_of(store_of([4]), "gru", EVENT_MODELS["masked"])
    with pytest.raises(ConfigError, match="masks=1"):
        model_of(store_of([4]), "transformer", EVENT_MODELS["masked"], masks=1)


def test_crops_are_runs_of_their_sequence(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([1, 2, 30, 7])
    model, batch = model_of(store, "gru", EMBEDDING_MODELS["contrastive"]), batch_of(store)
    first, second = model._crop(batch, 0), model._crop(batch, 1)
    assert first.lengths_N.tolist() == second.lengths_N.tolist() == [1, 2, 18, 5]
    for n in range(4):
        own = batch.codes_TF[batch.cu_seqlens[n] : batch.cu_seqlens[n + 1]]
        k = int(first.lengths_N[n])
        torch.testing.assert_close(first.codes_TF[first.cu_seqlens[n] : first.cu_seqlens[n + 1]], own[:k])
        torch.testing.assert_close(second.codes_TF[second.cu_seqlens[n] : second.cu_seqlens[n + 1]], own[-k:])
    assert second.starts_N.tolist() == [True, True, False, False]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.train()
        drawn = model._crop(batch, 0)
    assert (drawn.lengths_N >= (0.4 * batch.lengths_N).ceil()).all() and (drawn.lengths_N <= batch.lengths_N).all()


def test_crops_of_one_entity_belong_together(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([6, 6, 6])
    store = replace(store, entity=np.array([2, 2, 0], np.int32))
    model = model_of(store, "gru", EMBEDDING_MODELS["contrastive"])
    owner = model._owner(batch_of(store))
    assert owner[0] == owner[1] != owner[2]
    alone = replace(store, n_entities=1, entity=store.entity * 0)
    assert len(set(model_of(alone, "gru", type(model))._owner(batch_of(alone)).tolist())) == 3


@pytest.mark.parametrize("objective", sorted(MODELS))
def test_a_broken_training_goes_on_bit_for_bit(objective: Any, store_of: Make, model_of: Make, tmp_path: Path) -> None:
    sets = store_of(np.full(24, 12)), store_of(np.full(8, 12), seed=1)

    def run(folder: Path, progress: Any = lambda *_: None) -> Any:
        folder.mkdir(exist_ok=True)
        model = model_of(sets[0], CELL.get(objective, "gru"), MODELS[objective], dropout=0.2, trim=0.1).train()
        data = SequenceDataModule(train=sets[0], held_out=sets[1], tokens=96, longest=5)
        return model, train_model(model, data, TrainingPlan(**PLAN), folder, progress)

    def breaks(what: str, done: int, total: int) -> None:
        if done == total * 2 // 3 + 1:
            raise Broken

    whole, outcome = run(tmp_path / "whole")
    with pytest.raises(Broken):
        run(tmp_path / "broken", breaks)
    resumed, again = run(tmp_path / "broken")
    assert again.curve == outcome.curve and len(outcome.curve) == 3
    assert outcome.curve[-1]["held_out_loss"] < outcome.curve[0]["held_out_loss"]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert int((~whole.kept_S).sum()) == 3


def test_pieces_of_a_sequence_are_trimmed_by_their_mean(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([12, 5])
    model = model_of(store)
    whole = batch_of(store)
    with torch.no_grad():
        expected, _ = model.sequence_losses(whole)
        model.training_loss(whole)
        model.training_loss(whole)
    torch.testing.assert_close(model.loss_S, 2 * expected)
    assert model.weight_S.tolist() == [24, 10]


@pytest.mark.parametrize("objective", sorted(EVENT_MODELS))
def test_without_a_categorical_field(objective: Any, store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([9, 20, 1], timed=False)
    numeric = tuple(replace(field, kind="numeric") for field in store.fields)
    store = replace(store, fields=numeric, n_entities=1)
    model = model_of(store, CELL.get(objective, "gru"), MODELS[objective])
    found = residuals(model, batch_of(store))
    for f in fields(Residuals):
        value = getattr(found, f.name)
        assert torch.isfinite(value[~value.isnan()]).all(), f.name
    with torch.no_grad():
        assert torch.isfinite(model.losses(batch_of(store))).all()


@pytest.mark.parametrize("name", ["next_event", "autoencoder", "variational", "masked"])
def test_what_is_past_does_not_count_as_held_out(name: str, store_of: Make, model_of: Make) -> None:
    store = store_of([7, 9, 5, 6])
    model = model_of(store, CELL.get(name, "gru"), EVENT_MODELS[name])
    held_out = replace(store, context=np.array([7, 0, 2, 3]))
    data = SequenceDataModule(train=store, held_out=held_out, tokens=64, longest=4)
    batches = list(data.val_dataloader())
    assert sum(int(model.sequence_losses(batch)[1].sum()) for batch in batches) == 9 + 3 + 3
    for batch in batches:
        whole = replace(batch, past_N=None)
        with torch.no_grad():
            judged, every = model.losses(batch), model.losses(whole)
        kept = batch.judged_R()
        if kept is not None:
            np.testing.assert_allclose(judged[kept], every[kept], atol=1e-5)
            rest = np.delete(np.arange(len(judged)), kept)
            assert not judged[rest].any()


@pytest.mark.parametrize("objective", MODELS)
def test_every_model_trains_against_shifts(objective: str, store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([5, 9, 7, 3, 12])
    model = model_of(store, CELL.get(objective, "gru"), MODELS[objective], dropout=0.2).train()  # type: ignore[index]
    model.adversarial = 0.1
    model.training_loss(batch_of(store)).backward()
    assert model.embedding.fields.table.weight.grad.isfinite().all()
