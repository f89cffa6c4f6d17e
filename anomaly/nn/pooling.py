"""Packed events to one row per sequence, and each event's place in its sequence.

Shapes: T packed events, N sequences, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sum_by_sequence(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Sum packed rows, (T,) or (T, D), within each sequence."""
    lengths_N = cu_seqlens.diff()
    place_T = torch.arange(len(lengths_N), device=x.device).repeat_interleave(lengths_N, output_size=len(x))
    return x.new_zeros(len(lengths_N), *x.shape[1:]).index_add(0, place_T, x)


def mean_by_sequence(x_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Average packed rows (T, D) within each sequence; zeros where it is empty."""
    return sum_by_sequence(x_TD, cu_seqlens) / cu_seqlens.diff().clamp(min=1)[:, None]


def last_of_sequence(x_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the last row of each sequence; zeros where it is empty."""
    last_ND = x_TD[(cu_seqlens[1:] - 1).clamp(min=0)]
    return last_ND * (cu_seqlens.diff() > 0)[:, None]


def positions(cu_seqlens: Tensor, n_events: int) -> Tensor:
    """Return (T,) the place of each event in its sequence, from 0."""
    starts_T = cu_seqlens[:-1].repeat_interleave(cu_seqlens.diff(), output_size=n_events)
    return torch.arange(n_events, device=cu_seqlens.device) - starts_T
