"""Closed-form density of the time to the next event.

A log-normal mixture (Shchur et al. 2020, Intensity-free learning of temporal point processes, eq. 5) with an atom at
zero, because clocks are coarse and two events often carry one time.

Shapes: T packed events, D width, K components.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SMALLEST_SIGMA = 0.05
"""In units of the training gaps' log standard deviation; without it a clockwork would run off with the loss."""


class GapDensity(nn.Module):
    """Mixture over the standardised log-gap, given a context vector.

    Parameters
    ----------
    width : D
    components : K
    """

    def __init__(self, *, width: int, components: int) -> None:
        super().__init__()
        self.components = components
        self.parameters_of = nn.Linear(width, 3 * components + 1)
        with torch.no_grad():
            self.parameters_of.bias[components : 2 * components] = torch.linspace(-2, 2, components)

    def forward(self, context_TD: Tensor, log_gap_T: Tensor, zero_T: Tensor) -> tuple[Tensor, Tensor]:
        """Return the surprisal (T,) in nats and the probability-integral transform (T,).

        Parameters
        ----------
        log_gap_T : standardised log of the gap; any value where `zero_T`
        zero_T : whether the gap is zero; such an event's transform is the middle of the atom
        """
        raw = self.parameters_of(context_TD).float()
        weight, mean, scale, atom = raw.split([self.components] * 3 + [1], dim=-1)
        log_weight_TK = weight.log_softmax(-1)
        sigma_TK = nn.functional.softplus(scale) + SMALLEST_SIGMA
        z_TK = (log_gap_T[:, None] - mean) / sigma_TK
        log_normal_TK = -0.5 * z_TK.square() - sigma_TK.log() - 0.5 * math.log(2 * math.pi)
        log_density_T = (log_weight_TK + log_normal_TK).logsumexp(-1)
        cdf_T = (log_weight_TK.exp() * 0.5 * torch.erfc(-z_TK * 0.5**0.5)).sum(-1)
        log_zero_T, log_some_T = nn.functional.logsigmoid(atom[:, 0]), nn.functional.logsigmoid(-atom[:, 0])
        surprisal_T = -torch.where(zero_T, log_zero_T, log_some_T + log_density_T)
        p_zero_T = log_zero_T.exp()
        return surprisal_T, torch.where(zero_T, 0.5 * p_zero_T, p_zero_T + (1 - p_zero_T) * cdf_T)
