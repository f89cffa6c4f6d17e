"""Heads and losses that learn from labels, and what an unknown label is to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from anomaly.nn.lessons import HEADS, HeadKind, LabelHead, deep_sad_loss, deviation_loss, label_loss, pu_cross_entropy


@pytest.fixture(autouse=True)
def own_randomness() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_learns_to_tell_the_anomalous(kind: HeadKind) -> None:
    z, y = torch.randn(120, 6), torch.tensor([1] * 20 + [0] * 20 + [-1] * 80)
    z[:20, 0] += 3.0
    head = LabelHead(kind=kind, width=6, hidden=8, dropout=0.0)
    head.anchor(z)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        label_loss(kind, head(z), y, 0.05).backward()
        optimizer.step()
    score = head(z).detach()
    assert score[:20].median() > score[20:40].quantile(0.9)
    assert score[:20].median() > score[40:].quantile(0.9)


def test_unknown_items_are_not_normal_ones() -> None:
    score = torch.tensor([3.0, 2.0, 0.0])
    y = torch.tensor([-1, 1, 0])
    as_normal = torch.tensor([0, 1, 0])
    for loss in (deviation_loss, deep_sad_loss):
        assert loss(score, y) < loss(score, as_normal)


def test_the_risk_of_the_normal_class_is_never_negative() -> None:
    # All the risk of the unknown would be that of the anomalous hidden among them.
    risk = pu_cross_entropy(torch.tensor([9.0, -9.0]), torch.tensor([1, -1]), 0.5)
    assert risk == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(-9.0))))


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("label", [1, 0, -1])
def test_one_class_alone_gives_a_finite_loss(kind: HeadKind, label: int) -> None:
    score = torch.rand(5, requires_grad=True)
    loss = label_loss(kind, score, torch.full((5,), label), 0.02)
    loss.backward()
    assert torch.isfinite(loss) and score.grad is not None and torch.isfinite(score.grad).all()
