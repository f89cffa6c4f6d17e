"""Packed and padded are one computation, and no state knows what comes later."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomaly.nn import encoders
from anomaly.nn.attention import padded_attention, rotate
from anomaly.nn.encoders import CELLS, Carry, Encoder, TransformerEncoder, build_encoder, pad

WIDTH = 16
ragged = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def encoder(cell: Any, dropout: float = 0.0, causal: bool = True) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_encoder(cell, width=WIDTH, layers=2, heads=4, dropout=dropout, causal=causal)
    return made.eval()


def events(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, int]:
    draw = torch.Generator().manual_seed(seed)
    x_TD = torch.randn(sum(lengths), WIDTH, generator=draw)
    start_ND = torch.randn(len(lengths), WIDTH, generator=draw)
    return x_TD, start_ND, torch.tensor([0, *lengths]).cumsum(0), max(lengths)


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=15)
@given(lengths=ragged, seed=st.integers(0, 99))
def test_a_ragged_batch_is_its_sequences_one_by_one(cell: str, lengths: list[int], seed: int) -> None:
    model, (x, start, cu, longest) = encoder(cell), events(lengths, seed)
    with torch.no_grad():
        before, after = model(x, start, cu, longest)
        for n in range(len(lengths)):
            own = slice(int(cu[n]), int(cu[n + 1]))
            alone = model(x[own], start[n : n + 1], torch.tensor([0, lengths[n]]), lengths[n])
            torch.testing.assert_close(before[own], alone[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(after[own], alone[1], atol=1e-5, rtol=1e-5)
    assert before.shape == after.shape == x.shape


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=10)
@given(lengths=st.lists(st.integers(2, 30), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_later_events_change_no_earlier_state(cell: str, lengths: list[int], seed: int) -> None:
    model, (x, start, cu, longest) = encoder(cell), events(lengths, seed)
    from_T = cu[:-1] + torch.tensor([length // 2 for length in lengths])
    place = torch.arange(len(x))
    later = torch.zeros(len(x), dtype=torch.bool)
    for n in range(len(lengths)):
        later |= (place >= from_T[n]) & (place < cu[n + 1])
    changed = torch.where(later[:, None], x * -3 + 1, x)
    with torch.no_grad():
        (before, after), (before2, after2) = model(x, start, cu, longest), model(changed, start, cu, longest)
    torch.testing.assert_close(after[~later], after2[~later], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(before[from_T], before2[from_T], atol=1e-5, rtol=1e-5)
    assert (after[later] - after2[later]).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_before_an_event_is_that_after_its_predecessor(cell: str) -> None:
    lengths = [5, 1, 9]
    x, start, cu, longest = events(lengths)
    with torch.no_grad():
        before, after = encoder(cell)(x, start, cu, longest)
    inner = torch.ones(len(x), dtype=torch.bool)
    inner[cu[:-1]] = False
    torch.testing.assert_close(before[inner], after[:-1][inner[1:]])
    assert before[cu[:-1]].unique(dim=0).shape[0] == 3, "each sequence begins from its own start"


@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any))
def test_padding_lays_every_event_where_it_says(lengths: list[int]) -> None:
    x, _, cu, longest = events(lengths)
    padded, place = pad(x, cu, longest)
    assert padded.shape == (len(lengths), max(lengths), WIDTH)
    torch.testing.assert_close(padded.reshape(-1, WIDTH)[place], x)
    for n, length in enumerate(lengths):
        torch.testing.assert_close(padded[n, :length], x[cu[n] : cu[n + 1]])
        assert (padded[n, length:] == 0).all()


def test_attention_is_the_plain_formula() -> None:
    model = encoder("transformer")
    assert isinstance(model, TransformerEncoder)
    block: Any = model.blocks[0]
    angle = torch.outer(torch.arange(7), model._frequency())
    attend = padded_attention(model._frequency(), torch.tensor([7]), 7, causal=True)
    x = torch.randn(1, 7, WIDTH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        q, k, v = block.qkv(block.norm1(x)).view(7, 3, 4, 4).permute(1, 2, 0, 3)
        q, k = rotate(q, angle.cos(), angle.sin()), rotate(k, angle.cos(), angle.sin())
        scores = q @ k.transpose(1, 2) / math.sqrt(4)
        seen = torch.ones(7, 7, dtype=torch.bool).tril()
        mixed = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v
        expected = x + block.out(mixed.permute(1, 0, 2).reshape(1, 7, WIDTH))
        expected = expected + block.mlp(block.norm2(expected))
        torch.testing.assert_close(block(x, attend), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_attention_in_half_precision_is_that_of_full_precision(causal: bool) -> None:
    lengths, width = torch.tensor([9, 4, 1]), 8
    frequency = torch.tensor([1.0, 0.1, 0.01, 0.001])
    attend = padded_attention(frequency, lengths, 9, causal=causal)
    whole = torch.randn(3, 3, 9, 2, width, generator=torch.Generator().manual_seed(3))
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        tokens = whole.detach().to(dtype).requires_grad_()
        mixed = torch.cat([row[:length] for row, length in zip(attend(*tokens), lengths, strict=True)])
        mixed.square().sum().backward()
        assert tokens.grad is not None
        results.append((mixed.float(), tokens.grad.float()))
    torch.testing.assert_close(results[1], results[0], atol=0.05, rtol=0.05)


def test_rotary_positions_know_distances_only() -> None:
    model = encoder("transformer")
    assert isinstance(model, TransformerEncoder)
    q, k = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))
    angle = torch.outer(torch.arange(30), model._frequency())
    rotated_q, rotated_k = (rotate(a.expand(30, 4), angle.cos(), angle.sin()) for a in (q, k))
    products = rotated_q @ rotated_k.T
    for distance in (0, 1, 5):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=1e-4)
    assert (products.diagonal(1)[0] - products.diagonal(5)[0]).abs() > 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_evaluation_draws_no_dropout(cell: str) -> None:
    model, batch = encoder(cell, dropout=0.5), events([6, 3])
    with torch.no_grad():
        torch.testing.assert_close(model(*batch)[1], model(*batch)[1], atol=0, rtol=0)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@settings(deadline=None, max_examples=10)
@given(chunk=st.integers(1, 30), seed=st.integers(0, 99))
def test_a_state_that_is_carried_on_makes_pieces_one_pass(cell: str, chunk: int, seed: int) -> None:
    model, (x, start, *_) = encoder(cell), events([30], seed)
    assert model.carries
    with torch.no_grad():
        whole = model(x, start, torch.tensor([0, 30]), 30)
        carry, parts = Carry(), []
        for piece in x.split(chunk):
            parts.append(model(piece, start, torch.tensor([0, len(piece)]), len(piece), carry))
    for expected, found in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(found), expected, atol=1e-6, rtol=1e-6)


def test_convolutions_forget_what_is_further_back_than_they_say() -> None:
    model, (x, start, cu, longest) = encoder("tcn"), events([30])
    assert model.past == 6
    with torch.no_grad():
        _, whole = model(x, start, cu, longest)
        before, after = model(x[10:], start, torch.tensor([0, 20]), 20)
    torch.testing.assert_close(after[model.past :], whole[10 + model.past :], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(before[model.past + 1 :], whole[10 + model.past : -1], atol=1e-5, rtol=1e-5)
    assert (after[model.past - 1] - whole[10 + model.past - 1]).abs().max() > 1e-4, "and remember up to there"


@settings(deadline=None, max_examples=15)
@given(lengths=ragged, seed=st.integers(0, 99))
def test_looking_both_ways_no_event_sees_the_padding(lengths: list[int], seed: int) -> None:
    model, (x, start, cu, longest) = encoder("transformer", causal=False), events(lengths, seed)
    with torch.no_grad():
        before, after = model(x, start, cu, longest)
        for n in range(len(lengths)):
            own = slice(int(cu[n]), int(cu[n + 1]))
            alone = model(x[own], start[n : n + 1], torch.tensor([0, lengths[n]]), lengths[n])
            torch.testing.assert_close(before[own], alone[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(after[own], alone[1], atol=1e-5, rtol=1e-5)
        changed = model(torch.cat([x[:-1], x[-1:].flip(1)]), start, cu, longest)[1]
    if lengths[-1] > 1:
        assert (changed[cu[-2]] - after[cu[-2]]).abs().max() > 1e-5, "the first event sees the last"


def _varlen(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, cu_k: Tensor, most: int, *_: Any, window_size: Any) -> Tensor:
    """Stand in for the CUDA kernel, one sequence at a time."""
    assert cu.dtype == torch.int32 and most == int(cu.diff().max()) and q.is_contiguous() and v.is_contiguous()
    parts = [slice(int(a), int(b)) for a, b in pairwise(cu.tolist())]
    mixed = [
        torch.nn.functional.scaled_dot_product_attention(
            *(x[own].transpose(0, 1) for x in (q, k, v)), is_causal=window_size == (-1, 0)
        ).transpose(0, 1)
        for own in parts
    ]
    return torch.cat(mixed)


@pytest.mark.parametrize("causal", [True, False])
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=ragged, seed=st.integers(0, 99))
def test_tokens_end_to_end_are_tokens_side_by_side(
    causal: bool, lengths: list[int], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = encoder("transformer", causal=causal), events(lengths, seed)
    with torch.no_grad(), monkeypatch.context() as patch:
        plain = model(*batch)
        patch.setattr("torch.nn.attention.varlen.varlen_attn", _varlen)
        patch.setattr(encoders, "takes_packed", lambda x: True)
        packed = model(*batch)
    for found, expected in zip(packed, plain, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_states_are_of_single_precision_where_products_are_not(cell: str) -> None:
    model, (x, start, cu, longest) = encoder(cell), events([7, 1, 40])
    with torch.autocast("cpu", torch.bfloat16):
        before, after = model(x, start, cu, longest)
    assert before.dtype == after.dtype == torch.float32
    whole, _ = model(x, start, cu, longest)
    torch.testing.assert_close(before, whole, atol=5e-2, rtol=5e-2)
