"""The next-event model: causal, independent of its batch, a density of fields, gaps and ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.nn.residuals import Residuals
from anomaly.sequences.store import SequenceStore

Make = Callable[..., Any]
CELLS = ["gru", "transformer"]
PER_EVENT = ("surprisal_TF", "expected_TF", "tail_TF", "gap_surprisal_T", "gap_pit_T")


def residuals(model: Any, batch: Any) -> Residuals:
    with torch.no_grad():
        found: Residuals = model.residuals(batch)
    return found


def same(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, equal_nan=True)


def profiles(model: Any) -> torch.Tensor:
    """Return the table of the entities' profiles."""
    return next(m for m in model.profile.modules() if isinstance(m, torch.nn.Embedding)).weight


def prefix(store: SequenceStore, lengths: np.ndarray[Any, Any]) -> SequenceStore:
    kept = store.position() < np.repeat(lengths, store.lengths)
    return store.keep_events(kept)


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=8)
@given(lengths=st.lists(st.integers(1, 25), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_a_sequence_is_judged_alone(
    cell: str, lengths: list[int], seed: int, store_of: Make, model_of: Make, batch_of: Make
) -> None:
    store = store_of(lengths, seed)
    model = model_of(store_of([20, 20]), cell, layers=2)
    together = residuals(model, batch_of(store))
    for n in range(len(lengths)):
        alone, own = residuals(model, batch_of(store, [n])), slice(store.offsets[n], store.offsets[n + 1])
        for name in PER_EVENT:
            same(getattr(alone, name), getattr(together, name)[own])
        same(alone.end_N, together.end_N[n : n + 1])
        same(alone.embedding_ND, together.embedding_ND[n : n + 1])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("closed", [True, False])
def test_no_event_knows_a_later_one(cell: str, closed: bool, store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([9, 14, 4, 30], closed=closed)
    model = model_of(store, cell)
    expected = residuals(model, batch_of(store))
    half = store.lengths // 2
    kept = store.position() < np.repeat(half, store.lengths)
    shorter = residuals(model, batch_of(prefix(store, half)))
    later = np.where(kept[:, None], store.codes, np.int32(4))
    delta = np.where(kept, store.delta, np.float32(1e6))
    values = np.where(kept[:, None], store.values, np.float32(-3))
    changed = residuals(model, batch_of(replace(store, codes=later, delta=delta, values=values)))
    for name in PER_EVENT:
        same(getattr(shorter, name), getattr(expected, name)[kept])
        same(getattr(changed, name)[kept], getattr(expected, name)[kept])
    assert (changed.surprisal_TF[~kept] != expected.surprisal_TF[~kept]).any()


def test_gaps_that_do_not_exist_cost_nothing(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([5, 1, 7])
    model = model_of(store)
    assert model.gap_head is not None
    found = residuals(model, batch_of(store))
    starts = np.zeros(store.n_events, bool)
    starts[store.offsets[:-1]] = True
    np.testing.assert_array_equal(found.gap_pit_T.isnan().numpy(), starts)
    assert (found.gap_surprisal_T[starts] == 0).all() and (found.gap_surprisal_T[~starts] != 0).all()
    missing = residuals(model, batch_of(replace(store, delta=np.full_like(store.delta, np.nan))))
    assert torch.isnan(missing.gap_pit_T).all() and (missing.gap_surprisal_T == 0).all()
    assert torch.isfinite(missing.surprisal_TF).all()
    with torch.no_grad():
        assert torch.isfinite(model.losses(batch_of(replace(store, delta=np.full_like(store.delta, np.nan))))).all()


def test_without_time_there_is_no_gap(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([5, 6], timed=False)
    model = model_of(store)
    found = residuals(model, batch_of(store))
    assert model.gap_head is None
    assert torch.isnan(found.gap_pit_T).all() and (found.gap_surprisal_T == 0).all()


@pytest.mark.parametrize("cell", CELLS)
def test_ends_are_a_proper_distribution(cell: str, store_of: Make, model_of: Make, batch_of: Make) -> None:
    whole = store_of([12])
    model = model_of(whole, cell)
    prefixes = SequenceStore.from_codes(
        np.concatenate([whole.codes[:k] for k in range(1, 13)]),
        np.arange(1, 13),
        fields=whole.fields,
        delta=np.concatenate([whole.delta[:k] for k in range(1, 13)]),
        values=np.concatenate([whole.values[:k] for k in range(1, 13)]),
        entity=np.repeat(whole.entity, 12),
    )
    found = residuals(model, batch_of(prefixes))
    going = residuals(model, batch_of(whole)).surprisal_TF[:, -1]
    assert float(going[0]) == 0, "no sequence ends before its first event"
    survived = torch.cumsum(going, 0)
    ends_at = torch.exp(-(survived + found.end_N))
    beyond = torch.exp(-survived[-1]) * (1 - torch.exp(-found.end_N[-1]))
    assert abs(float(ends_at.sum() + beyond) - 1) < 1e-5
    assert (ends_at > 0).all()


def test_the_choice_to_go_on_has_its_own_entropy_and_tail(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([6, 8])
    found = residuals(model_of(store), batch_of(store))
    q = torch.exp(-found.surprisal_TF[:, -1])
    inner = q < 1
    entropy = -(q * q.log() + (1 - q) * (1 - q).log())
    same(found.expected_TF[inner, -1], entropy[inner])
    same(found.expected_TF[~inner, -1], torch.zeros(2))
    same(found.tail_TF[:, -1], torch.where(q <= 0.5, q / 2, 1 - q / 2))


def test_open_ends_are_not_predicted(store_of: Make, model_of: Make, batch_of: Make) -> None:
    closed, unclosed = store_of([4, 5]), store_of([4, 5], closed=False)
    assert model_of(closed).predicted(("a", "b")) == ("a", "b", "end")
    model = model_of(unclosed)
    assert model.predicted(("a", "b")) == ("a", "b")
    found = residuals(model, batch_of(unclosed))
    assert found.surprisal_TF.shape[1] == 2 and (found.end_N == 0).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("closed", [True, False])
def test_mixed_precision_learns_from_open_and_closed_ends(
    cell: str, closed: bool, store_of: Make, model_of: Make, batch_of: Make
) -> None:
    store = store_of([4, 5], closed=closed)
    model = model_of(store, cell)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.training_loss(batch_of(store))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("cell", CELLS)
def test_the_population_is_entity_0(cell: str, store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([6, 9, 3])
    model, batch = model_of(store, cell), batch_of(store)
    with torch.no_grad():
        profiles(model)[1:] *= 10
    unknown = batch_of(replace(store, entity=np.zeros_like(store.entity)))
    crowd, none = residuals(model, batch.as_population()), residuals(model, unknown)
    for f in fields(Residuals):
        same(getattr(crowd, f.name), getattr(none, f.name))
    assert (profiles(model)[0] == 0).all()
    own = residuals(model, batch)
    assert (own.surprisal_TF - crowd.surprisal_TF).abs().max() > 1e-3
    with torch.no_grad():
        same(model.surprisal(batch), own.surprisal_TF[:, :2])


def test_profiles_are_hidden_while_training_only(store_of: Make, model_of: Make) -> None:
    model = model_of(store_of([4, 5]), entity_dropout=0.3)
    entity = torch.full((4000,), 2)
    assert torch.equal(model._shown_entities(entity), entity)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shown = model._shown_entities(entity)
    assert set(shown.tolist()) == {0, 2}
    assert float((shown == 0).float().mean()) == pytest.approx(0.3, abs=0.03)


def test_one_entity_means_no_profile(store_of: Make, model_of: Make) -> None:
    assert model_of(replace(store_of([4, 5]), n_entities=1)).profile is None


def test_the_loss_is_the_sum_of_all_surprisals(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([6, 1, 9])
    model, batch = model_of(store), batch_of(store)
    found = residuals(model, batch)
    expected = found.surprisal_TF.sum(1) + found.gap_surprisal_T
    expected[batch.cu_seqlens[1:] - 1] += found.end_N
    with torch.no_grad():
        same(model.losses(batch), expected)


def test_trimmed_sequences_do_not_train(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([6, 4, 9, 5])
    model, batch = model_of(store, entity_dropout=0.0), batch_of(store)
    whole = model.training_loss(batch)
    model.kept_S = torch.tensor([True, False, True, False])
    trimmed = model.training_loss(batch)
    alone = model.losses(batch_of(store, [0, 2])).sum() / (6 + 9)
    torch.testing.assert_close(trimmed, alone)
    assert abs(float((whole - trimmed).detach())) > 1e-4
    grads = torch.autograd.grad(trimmed, profiles(model))[0]
    trained = set(store.entity[[0, 2]])
    assert all(bool((grads[e] != 0).any()) == (e in trained) for e in range(1, 4))
    model.kept_S[:] = False
    assert model.training_loss(batch).item() == 0.0


@pytest.mark.parametrize("trim", [0.0, 0.1, 0.25])
def test_the_share_with_the_largest_loss_is_dropped(trim: float, store_of: Make, model_of: Make) -> None:
    model = model_of(store_of([1] * 100), trim=trim)
    model.loss_S = torch.from_numpy(np.random.default_rng(0).permutation(100).astype(np.float32))
    model.kept_S = model.within_trim(model.loss_S)
    assert int((~model.kept_S).sum()) == round(trim * 100)
    assert torch.equal(model.kept_S, model.loss_S < 100 - round(trim * 100))


def test_embedding_is_the_mean_state(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([6, 2])
    model, batch = model_of(store), batch_of(store)
    with torch.no_grad():
        after = model.states(batch)[1]
        same(model.embed(batch), torch.stack([after[:6].mean(0), after[6:].mean(0)]))
        same(residuals(model, batch).embedding_ND, model.embed(batch))


def test_gaps_are_standardised_by_the_training_store(store_of: Make, model_of: Make) -> None:
    store = store_of([30] * 20)
    model = model_of(store)
    positive = np.log(store.delta[store.delta > 0])
    assert model.params["gap_mean"] == pytest.approx(positive.mean(), rel=1e-4)
    assert model.params["gap_std"] == pytest.approx(positive.std(), rel=1e-4)
    clockwork = replace(store, delta=np.where(store.delta > 0, 60.0, 0.0).astype(np.float32))
    assert model_of(clockwork).params["gap_std"] == pytest.approx(0.1)
    still = replace(store, delta=np.zeros_like(store.delta))
    assert model_of(still).gap_head is None


@pytest.mark.parametrize("cell", CELLS)
def test_odd_batches_stay_finite(cell: str, store_of: Make, model_of: Make, batch_of: Make) -> None:
    model = model_of(store_of([20, 20]), cell)
    ordinary = store_of([1, 3, 8])
    odd = {
        "holes": store_of([0, 3, 0, 4, 0]),
        "huge": replace(ordinary, values=ordinary.values * 0 + np.float32(1e30), delta=ordinary.delta + 1e30),
        "unknown": replace(ordinary, codes=np.ones_like(ordinary.codes), entity=ordinary.entity * 0),
        "one": store_of([1]),
    }
    for name, store in odd.items():
        found, batch = residuals(model, batch_of(store)), batch_of(store)
        for f in fields(Residuals):
            value = getattr(found, f.name)
            assert torch.isfinite(value[~value.isnan()] if f.name == "gap_pit_T" else value).all(), (name, f.name)
        with torch.no_grad():
            assert torch.isfinite(model.losses(batch)).all(), name


def test_the_clock_is_predicted_and_not_read(store_of: Make, model_of: Make, batch_of: Make) -> None:
    store = store_of([6])
    clocked = replace(store, fields=(store.fields[0], replace(store.fields[1], kind="clock")))
    model = model_of(clocked)
    codes = np.array(store.codes)
    codes[2, 1] = next(code for code in codes[:, 1] if code != codes[2, 1])
    found, changed = (residuals(model, batch_of(replace(clocked, codes=c))).surprisal_TF for c in (store.codes, codes))
    same(changed[3:], found[3:])
    same(changed[:, 0], found[:, 0])
    assert abs(float(found[2, 1] - changed[2, 1])) > 1e-4
