"""Dropout keeps the mean, the rate and the evaluation."""

from __future__ import annotations

import pytest
import torch

from anomaly.nn.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_rate_and_mean_are_kept(rate: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = Dropout(rate).train()(torch.ones(401, 499))
    assert float((x == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    assert float(x.mean()) == pytest.approx(1.0, abs=0.03)
    kept = x[x != 0]
    assert float(kept.min()) == pytest.approx(1 / (1 - rate), rel=1e-4) == float(kept.max())
    # Four elements share one draw of 64 bits; they must not share their fate.
    fate = (x.flatten()[: 4 * 10_000].view(-1, 4) == 0).double()
    assert float((torch.corrcoef(fate.T) - torch.eye(4)).abs().max()) < 0.05


def test_no_dropout_in_evaluation_or_at_rate_zero() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_it_draws_from_the_seed() -> None:
    def draw() -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            found: torch.Tensor = Dropout(0.5).train()(torch.ones(100))
            return found

    assert torch.equal(draw(), draw())
