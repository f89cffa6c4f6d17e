"""Conditional heads are a distribution over whole events; entropy and tail are what their names say."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from anomaly.events.binning import MISSING
from anomaly.nn import heads
from anomaly.nn.embedding import EventEmbedding, FieldEmbedding
from anomaly.nn.heads import ConditionalHeads

SIZES, WIDTH = (4, 3, 5), 8


@pytest.fixture
def model() -> ConditionalHeads:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConditionalHeads(sizes=SIZES, width=WIDTH, dropout=0.0).eval()


def directly(logits: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return surprisal, entropy and tail from all logits at once."""
    log_p = logits.double().log_softmax(-1)
    p, own = log_p.exp(), log_p.gather(1, codes[:, None])
    tail = (p * (logits <= logits.gather(1, codes[:, None]))).sum(-1) - 0.5 * own[:, 0].exp()
    return -own[:, 0].float(), -(p * log_p).sum(-1).float(), tail.clamp(1e-12, 1.0).float()


def every_event() -> torch.Tensor:
    return torch.tensor(list(itertools.product(*(range(size) for size in SIZES))))


@torch.no_grad()
def test_probabilities_of_all_events_sum_to_one(model: ConditionalHeads) -> None:
    codes = every_event()
    history = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(1)).expand(len(codes), -1)
    surprisal = model.surprisal(model.contexts(history, codes), codes)
    assert abs(float((-surprisal.sum(1)).exp().sum()) - 1) < 1e-5
    for f, size in enumerate(SIZES):
        # Given the earlier fields, the probabilities of one field's codes sum to one.
        rest = [slice(None) if k == f else 0 for k in range(len(SIZES))]
        one_field = (-surprisal[:, f]).exp().reshape(SIZES)[tuple(rest)]
        assert one_field.shape == (size,)
        assert abs(float(one_field.sum()) - 1) < 1e-5


@torch.no_grad()
def test_entropy_and_tail_equal_direct_computation(model: ConditionalHeads) -> None:
    codes = every_event()
    history = torch.randn(len(codes), WIDTH, generator=torch.Generator().manual_seed(2))
    contexts = model.contexts(history, codes)
    surprisal, entropy, tail = model.score(contexts, codes)
    torch.testing.assert_close(surprisal, model.surprisal(contexts, codes))
    for f in range(len(SIZES)):
        p = model.outputs[f](contexts[f]).softmax(-1)
        torch.testing.assert_close(entropy[:, f], -(p * p.log()).sum(1))
        own = p.gather(1, codes[:, f : f + 1])
        torch.testing.assert_close(tail[:, f], (p * (p < own)).sum(1) + 0.5 * own[:, 0], atol=1e-5, rtol=1e-4)
    assert ((tail > 0) & (tail <= 1)).all()
    # A randomised tail is uniform over its own distribution, so its mean is a half.
    p_all = (-surprisal).exp()
    same = model.contexts(history[:1].expand(len(codes), -1), codes)
    s, _, t = model.score(same, codes)
    assert abs(float(((-s[::15, 0]).exp() * t[::15, 0]).sum()) - 0.5) < 1e-4
    assert (p_all <= 1).all()


@torch.no_grad()
def test_the_tail_of_an_impossible_value_is_not_zero() -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0]])
    for code in range(3):
        own = logits[:, code]
        surprisal, entropy, tail = heads._score_tiles(own, own, [logits.clone()])
        assert torch.isfinite(surprisal).all() and torch.isfinite(entropy).all()
        assert 0 < float(tail) <= 1


@torch.no_grad()
def test_a_field_is_blind_for_itself_and_for_later_fields(model: ConditionalHeads) -> None:
    codes = every_event()[:30]
    history = torch.randn(30, WIDTH, generator=torch.Generator().manual_seed(3))
    contexts = model.contexts(history, codes)
    for f in range(len(SIZES)):
        other = codes.clone()
        other[:, f] = (other[:, f] + 1) % SIZES[f]
        changed = model.contexts(history, other)
        torch.testing.assert_close(changed[: f + 1], contexts[: f + 1])
        assert (changed[f + 1] - contexts[f + 1]).abs().max() > 1e-3
    short = model.contexts(history, codes, whole=False)
    torch.testing.assert_close(short, contexts[:-1])


@torch.no_grad()
def test_chunks_are_one_computation(model: ConditionalHeads, monkeypatch: Any) -> None:
    codes = every_event().repeat(10, 1)
    contexts = model.contexts(torch.randn(len(codes), WIDTH, generator=torch.Generator().manual_seed(4)), codes)
    expected = model.score(contexts, codes)
    monkeypatch.setattr(heads, "LOGITS_AT_ONCE", 1)
    for found, whole in zip(model.score(contexts, codes), expected, strict=True):
        torch.testing.assert_close(found, whole, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_one_table_holds_every_field_apart() -> None:
    table = FieldEmbedding((4, 3), WIDTH)
    codes = torch.tensor([[1, 2], [3, 0]])
    parts = table.one(0, codes[:, 0]) + table.one(1, codes[:, 1])
    torch.testing.assert_close(table(codes), parts)
    assert not torch.allclose(table.one(0, torch.tensor([1])), table.one(1, torch.tensor([1])))


@torch.no_grad()
def test_an_unknown_gap_is_not_an_average_one() -> None:
    model = EventEmbedding(sizes=(4,), n_values=1, width=WIDTH, has_time=True, dropout=0.0).eval()
    codes, values = torch.ones(2, 1, dtype=torch.int64), torch.zeros(2, 1)
    found = model(codes, values, torch.tensor([0.0, torch.nan]))
    assert torch.isfinite(found).all()
    assert (found[0] - found[1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("value", [1e30, -1e30, 1e10])
def test_huge_numbers_stay_finite(value: float) -> None:
    model = EventEmbedding(sizes=(4,), n_values=1, width=WIDTH, has_time=True, dropout=0.0).eval()
    found = model(torch.ones(1, 1, dtype=torch.int64), torch.full((1, 1), value), torch.zeros(1))
    assert torch.isfinite(found).all()


LARGE = 5000


@pytest.fixture
def large(monkeypatch: Any) -> ConditionalHeads:
    monkeypatch.setattr(heads, "CODES_AT_ONCE", 700)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = ConditionalHeads(sizes=(LARGE,), width=WIDTH, dropout=0.0)
        torch.nn.init.normal_(made.outputs[0].weight, std=1.0)
        return made.eval()


def one_field(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    codes = torch.randint(LARGE, (n, 1), generator=generator)
    return torch.randn(1, n, WIDTH, generator=generator), codes


@torch.no_grad()
def test_a_large_field_in_tiles_is_scored_as_in_one_piece(large: ConditionalHeads) -> None:
    contexts, codes = one_field(300)
    expected = directly(large.outputs[0](contexts[0]), codes[:, 0])
    for found, whole in zip(large.score(contexts, codes), expected, strict=True):
        torch.testing.assert_close(found[:, 0], whole, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(large.surprisal(contexts, codes)[:, 0], expected[0], atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_logits_far_apart_stay_finite_in_tiles() -> None:
    logits = torch.tensor([[-300.0, 0.0, 300.0, 10.0]]).expand(4, -1)
    own = logits.diagonal()
    found = heads._score_tiles(own, own, [tile.clone() for tile in logits.split(1, dim=1)])
    expected = directly(logits, torch.arange(4))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_field_in_one_piece_is_scored_as_it_is() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = ConditionalHeads(sizes=(LARGE,), width=WIDTH, dropout=0.0).eval()
    contexts, codes = one_field(300)
    expected = directly(model.outputs[0](contexts[0]), codes[:, 0])
    for found, whole in zip(model.score(contexts, codes), expected, strict=True):
        # Of two codes that are as likely but for rounding, one counts as less likely here and not there.
        differs = ~torch.isclose(found[:, 0], whole, atol=2e-6, rtol=2e-5)
        assert differs.sum() <= 2
        torch.testing.assert_close(found[:, 0], whole, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model.surprisal(contexts, codes)[:, 0], expected[0], atol=2e-6, rtol=2e-6)


@torch.no_grad()
def test_both_products_are_one(monkeypatch: Any) -> None:
    model = ConditionalHeads(sizes=(LARGE,), width=WIDTH, dropout=0.0).eval()
    contexts, codes = one_field(300)
    expected = model.surprisal(contexts, codes)
    monkeypatch.setattr(heads, "ONEDNN", False)
    torch.testing.assert_close(model.surprisal(contexts, codes), expected, atol=2e-6, rtol=2e-6)


def test_a_large_field_trains_on_samples_towards_the_full_softmax(large: ConditionalHeads) -> None:
    contexts, codes = one_field(400)
    large.train()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        estimates = torch.stack([large.surprisal(contexts, codes)[:, 0] for _ in range(64)])
    exact = torch.nn.functional.cross_entropy(large.outputs[0](contexts[0]), codes[:, 0], reduction="none")
    off = (estimates.mean(0) - exact).abs().mean().detach()
    assert float(off) < 0.05 * float(exact.mean().detach())
    gradient = torch.autograd.grad(estimates.mean(), large.outputs[0].weight)[0]
    full = torch.autograd.grad(exact.mean(), large.outputs[0].weight)[0]
    cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), full.flatten(), dim=0)
    assert float(cosine) > 0.9


@torch.no_grad()
def test_the_upper_tail_is_that_of_the_numbers() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ConditionalHeads(sizes=(4, MISSING + 6), width=WIDTH, dropout=0.0).eval()
        codes = torch.stack([torch.zeros(MISSING + 6, dtype=torch.int64), torch.arange(MISSING + 6)], 1)
        contexts = model.contexts(torch.randn(1, WIDTH).expand(len(codes), -1), codes)
    upper = model.upper_tail(contexts, codes, [1])[:, 0]
    p = model.outputs[1](contexts[1])[0].softmax(-1)[MISSING + 1 :]
    p = p / p.sum()
    assert (upper[: MISSING + 1] == 0.5).all(), "what is no number has no side"
    for k in range(len(p)):
        torch.testing.assert_close(upper[MISSING + 1 + k], p[k + 1 :].sum() + 0.5 * p[k], atol=1e-6, rtol=1e-4)
    assert model.upper_tail(contexts, codes, []).shape == (len(codes), 0)
