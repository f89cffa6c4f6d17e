"""What labels teach a network: heads on item vectors, and losses for labels 1 (anomalous), 0 (normal), -1 (unknown).

An unknown label is never read as a normal one: each loss says what it makes of it.

Shapes: N items, D width.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

HeadKind = Literal["classification", "deviation", "deep_sad"]
HEADS: tuple[HeadKind, ...] = get_args(HeadKind)

MARGIN = 5.0
"""Deviations by which an anomalous item must exceed the reference (Pang et al. 2019, DevNet, section 3.3)."""
UNKNOWN_WEIGHT = 0.2
"""What an unknown item counts where it is presumed to be usual, beside a labelled one."""


class LabelHead(nn.Module):
    """One number per item, higher is more anomalous.

    Parameters
    ----------
    kind : "classification" and "deviation" have a small network; "deep_sad" takes the distance to a centre
    width : D
    hidden : units of the layer between, or dimensions of the space in which the distance is taken
    """

    mean_D: Tensor
    scale_D: Tensor
    center: Tensor

    def __init__(self, *, kind: HeadKind, width: int, hidden: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        self.params: dict[str, Any] = {"kind": kind, "width": width, "hidden": hidden, "dropout": dropout}
        self.kind = kind
        self.register_buffer("mean_D", torch.zeros(width))
        self.register_buffer("scale_D", torch.ones(width))
        self.register_buffer("center", torch.zeros(hidden))
        # Without a bias, so that the map cannot take everything to the centre (Ruff et al. 2018, proposition 2).
        self.inner = nn.Linear(width, hidden, bias=kind != "deep_sad")
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(hidden, 1) if kind != "deep_sad" else None

    @torch.no_grad()
    def anchor(self, z_ND: Tensor) -> None:
        """Learn the scale of the vectors and the centre from items of any label."""
        self.mean_D.copy_(z_ND.mean(0))
        # A dimension that hardly varies must not be blown up.
        self.scale_D.copy_(z_ND.std(0).clamp(min=0.1 * z_ND.std().clamp(min=1e-3)))
        self.center.copy_(self.inner((z_ND - self.mean_D) / self.scale_D).mean(0))

    def forward(self, z_ND: Tensor) -> Tensor:
        """Return (N,) scores."""
        x_NH = self.inner(self.dropout((z_ND - self.mean_D) / self.scale_D))
        score_N: Tensor
        if self.outer is None:
            score_N = (x_NH - self.center).square().mean(1)
        else:
            score_N = self.outer(self.dropout(nn.functional.gelu(x_NH)))[:, 0]
        return score_N


def label_loss(kind: HeadKind, score_N: Tensor, y_N: Tensor, prevalence: float) -> Tensor:
    """Return the loss of a head's scores.

    Parameters
    ----------
    prevalence : believed share of anomalous items among the unknown
    """
    if kind == "classification":
        return pu_cross_entropy(score_N, y_N, prevalence)
    return deviation_loss(score_N, y_N) if kind == "deviation" else deep_sad_loss(score_N, y_N)


def pu_cross_entropy(score_N: Tensor, y_N: Tensor, prevalence: float) -> Tensor:
    """Return the logistic risk in which unknown items stand for the population.

    The risk of the normal class is seen twice, in labelled normal items and as what the unknown hold besides the
    anomalous, which cannot be negative (Kiryo et al. 2017, eq. 6; joined with the former as in Sakai et al. 2017).
    """
    if_odd_N, if_usual_N = nn.functional.softplus(-score_N), nn.functional.softplus(score_N)
    odd, normal, unknown = y_N == 1, y_N == 0, y_N == -1
    seen = [if_usual_N[normal].mean()] if normal.any() else []
    if unknown.any():
        hidden = prevalence * if_usual_N[odd].mean() if odd.any() else 0.0
        seen.append((if_usual_N[unknown].mean() - hidden).clamp(min=0.0) / (1 - prevalence))
    risk = torch.stack(seen).mean() if seen else score_N.new_zeros(())
    # Both classes weigh the same: what is learnt is an order, and the odd are few.
    return risk + (if_odd_N[odd].mean() if odd.any() else 0.0)


def deviation_loss(score_N: Tensor, y_N: Tensor) -> Tensor:
    """Return how far usual items are from a standard normal reference, and how little anomalous ones exceed it.

    Source: Pang et al. 2019 (DevNet), eq. 7. Unknown items are presumed usual, at a fifth of a labelled one's weight.
    """
    loss_N = torch.where(y_N == 1, (MARGIN - score_N).clamp(min=0.0), score_N.abs())
    return _by_class(loss_N, y_N)


def deep_sad_loss(score_N: Tensor, y_N: Tensor) -> Tensor:
    """Return the squared distance to the centre of usual items, and its inverse for anomalous ones.

    Source: Ruff et al. 2020 (Deep SAD), eq. 7. Unknown items are presumed usual, at a fifth of a labelled one's weight.
    """
    loss_N = torch.where(y_N == 1, 1.0 / (score_N + 0.05), score_N)
    return _by_class(loss_N, y_N)


def _by_class(loss_N: Tensor, y_N: Tensor) -> Tensor:
    """Return the mean over the classes that are there, the unknown at their own weight."""
    weights = {1: 1.0, 0: 1.0, -1: UNKNOWN_WEIGHT}
    there = {label: weight for label, weight in weights.items() if bool((y_N == label).any())}
    parts = [weight * loss_N[y_N == label].mean() for label, weight in there.items()]
    return torch.stack(parts).sum() / sum(there.values())
