"""Training against the worst small shift of the embedded events (Miyato et al. 2017, eq. 3).

Shapes: T packed events, N sequences, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn


def adversarial_losses(
    embedding: nn.Module, losses: Callable[[], tuple[Tensor, Tensor]], size: float
) -> tuple[Tensor, Tensor]:
    """Return (N,) the mean of each sequence's loss as it is and as shifted, and (N,) what it counts.

    Parameters
    ----------
    embedding : the module whose output is shifted, in each of its calls
    losses : runs the model; it is run twice, with the same random draws
    size : norm of an event's shift, as a share of the norm of its vector
    """
    seen: list[Tensor] = []
    watch = embedding.register_forward_hook(lambda module, given, out: seen.append(out))
    device = next(embedding.parameters()).device
    # The worst shift is that of these very crops, hidden events and dropped units.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        loss_N, weight_N = losses()
    watch.remove()
    slopes = torch.autograd.grad(loss_N.sum(), seen, retain_graph=True, allow_unused=True)
    shifts = [_shift(out, slope, size) for out, slope in zip(seen, slopes, strict=True)]
    push = embedding.register_forward_hook(lambda module, given, out: out + shifts.pop(0))
    shifted_N, _ = losses()
    push.remove()
    return 0.5 * (loss_N + shifted_N), weight_N


def _shift(out_TD: Tensor, slope_TD: Tensor | None, size: float) -> Tensor:
    if slope_TD is None:
        return torch.zeros_like(out_TD)
    length_T1 = slope_TD.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    shift: Tensor = size * out_TD.norm(dim=-1, keepdim=True) * slope_TD / length_T1
    return shift.detach()
