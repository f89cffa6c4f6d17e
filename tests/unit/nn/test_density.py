"""The gap density is a density: it integrates to one, and its distribution function is its integral."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.nn.density import SMALLEST_SIGMA, GapDensity

WIDTH = 6


def density(seed: int, components: int = 4) -> GapDensity:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GapDensity(width=WIDTH, components=components)


def context(seed: int, n: int) -> torch.Tensor:
    return torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(seed)).expand(n, -1) * 2


@torch.no_grad()
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), components=st.integers(1, 8))
def test_it_integrates_to_one_and_its_cdf_is_the_integral(seed: int, components: int) -> None:
    model, grid = density(seed, components), torch.linspace(-40, 40, 40_001)
    here, never = context(seed, len(grid)), torch.zeros(len(grid), dtype=torch.bool)
    surprisal, cdf = model(here, grid, never)
    zero_surprisal, _ = model(here[:1], grid[:1], ~never[:1])
    p_zero = float((-zero_surprisal).exp())
    integral = torch.cumulative_trapezoid((-surprisal.double()).exp(), grid.double())
    assert abs(p_zero + float(integral[-1]) - 1) < 1e-3
    torch.testing.assert_close(cdf[1:].double(), p_zero + integral, atol=1e-3, rtol=0)
    assert (cdf.diff() >= -1e-6).all()


@torch.no_grad()
def test_the_atom_takes_the_zeros_whole() -> None:
    model = density(3)
    here = context(3, 4)
    zero = torch.tensor([True, True, False, False])
    surprisal, pit = model(here, torch.tensor([5.0, -100.0, -100.0, 100.0]), zero)
    p_zero = float((-surprisal[0]).exp())
    assert surprisal[0] == surprisal[1], "whatever stands for the log of a zero gap"
    assert float(pit[0]) == pytest.approx(p_zero / 2, abs=1e-6)
    assert float(pit[2]) == pytest.approx(p_zero, abs=1e-5)
    assert float(pit[3]) == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(surprisal).all()


@torch.no_grad()
def test_a_clockwork_is_not_infinitely_certain() -> None:
    model = density(0, components=1)
    model.parameters_of.weight.zero_()
    model.parameters_of.bias.copy_(torch.tensor([0.0, 0.0, -1e4, -20.0]))
    surprisal, _ = model(torch.zeros(1, WIDTH), torch.zeros(1), torch.tensor([False]))
    smallest = torch.tensor(SMALLEST_SIGMA).log() + 0.5 * torch.log(torch.tensor(2 * torch.pi))
    assert float(surprisal) == pytest.approx(float(smallest), abs=1e-4)


def test_the_gradient_is_finite_where_the_gap_is_zero() -> None:
    model = density(1)
    surprisal, _ = model(context(1, 2), torch.tensor([-1e3, 0.5]), torch.tensor([True, False]))
    surprisal.sum().backward()
    assert torch.isfinite(model.parameters_of.weight.grad).all()  # type: ignore[arg-type]
