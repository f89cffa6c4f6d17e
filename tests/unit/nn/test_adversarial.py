"""The shift of embedded events that training is hardened against makes the loss larger."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anomaly.nn.adversarial import adversarial_losses


def losses_of(embedding: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    return embedding(x).square().sum(1), torch.ones(len(x))


def test_the_shifted_loss_is_larger_and_of_the_stated_size() -> None:
    embedding, x = nn.Linear(3, 4), torch.ones(5, 3)
    plain_N, _ = losses_of(embedding, x)
    both_N, weight_N = adversarial_losses(embedding, lambda: losses_of(embedding, x), 0.1)
    # Of a square, the worst shift by a tenth of the vector is along it: 1.1^2 of the loss.
    torch.testing.assert_close(both_N, plain_N * (1 + 1.1**2) / 2)
    assert torch.equal(weight_N, torch.ones(5))


def test_it_trains_and_leaves_no_hook_behind() -> None:
    embedding, x = nn.Linear(3, 4), torch.ones(5, 3)
    loss_N, _ = adversarial_losses(embedding, lambda: losses_of(embedding, x), 0.1)
    loss_N.sum().backward()
    assert embedding.weight.grad is not None and not embedding._forward_hooks


def test_both_runs_draw_the_same_and_the_stream_goes_on() -> None:
    embedding, x = nn.Linear(3, 4), torch.ones(40, 3)
    drawn: list[int] = []

    def losses() -> tuple[Tensor, Tensor]:
        drawn.append(int(torch.randint(1, 40, ())))
        return losses_of(embedding, x[: drawn[-1]])

    for _ in range(3):
        adversarial_losses(embedding, losses, 0.1)
    assert drawn[::2] == drawn[1::2] and len(set(drawn)) > 1
