"""Causal sequence encoders: the state after an event has seen that event and what came before it.

Shapes: T packed events, N sequences, L longest sequence of the batch, D width, H heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anomaly.nn.dropout import Dropout

if TYPE_CHECKING:
    from collections.abc import Callable


def pad(x_TD: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """Lay packed events out as (N, L, D), padded on the right; also return each event's flat place in it.

    A causal encoder needs no padding mask: no real event ever sees what lies to its right.
    """
    lengths_N = cu_seqlens.diff()
    longest = int(lengths_N.max()) if len(lengths_N) else 0
    starts_N = torch.arange(len(lengths_N), device=x_TD.device) * longest
    place_T = torch.arange(len(x_TD), device=x_TD.device) + (starts_N - cu_seqlens[:-1]).repeat_interleave(lengths_N)
    x_PD = x_TD.new_zeros(len(lengths_N) * longest, x_TD.shape[1]).index_copy(0, place_T, x_TD)
    return x_PD.view(len(lengths_N), longest, -1), place_T


def before_and_after(states_NMD: Tensor, place_T: Tensor) -> tuple[Tensor, Tensor]:
    """Pack the states (N, L + 1, D), the start first, into those before and those after each event."""
    longest = states_NMD.shape[1] - 1
    states_PD = states_NMD.reshape(-1, states_NMD.shape[-1])
    # Every sequence has one state more than it has events.
    before_T = place_T + place_T.div(max(longest, 1), rounding_mode="floor")
    return states_PD.index_select(0, before_T), states_PD.index_select(0, before_T + 1)


class GRUEncoder(nn.Module):
    """Gated recurrent units over length-bucketed sequences."""

    def __init__(self, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states before and after each event (T, D), given the state before each sequence's first."""
        x_NLD, place_T = pad(x_TD, cu_seqlens)
        start_ND = start_ND.tanh()
        state_KND = start_ND.expand(self.gru.num_layers, -1, -1).contiguous()
        hidden_NLD, _ = self.gru(x_NLD, state_KND)
        return before_and_after(torch.cat([start_ND[:, None].to(hidden_NLD.dtype), hidden_NLD], dim=1), place_T)


class TransformerEncoder(nn.Module):
    """Pre-norm causal transformer with rotary positions (Su et al. 2021, RoFormer).

    The start is a token of its own at position 0, so that every event attends to it.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        frequency = 10_000.0 ** -(torch.arange(0, width // heads, 2) / (width // heads))
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states before and after each event (T, D), given the state before each sequence's first."""
        x_NLD, place_T = pad(x_TD, cu_seqlens)
        x_NLD = torch.cat([start_ND[:, None], x_NLD], dim=1)
        rotate = self._rotation(x_NLD.shape[1])
        for block in self.blocks:
            x_NLD = block(x_NLD, rotate)
        return before_and_after(self.norm(x_NLD), place_T)

    def _rotation(self, length: int) -> Callable[[Tensor], Tensor]:
        angle_LE = torch.outer(torch.arange(length, device=self.frequency.device), self.frequency)  # type: ignore[arg-type]
        cos_LE, sin_LE = angle_LE.cos(), angle_LE.sin()

        def rotate(q_NHLE: Tensor) -> Tensor:
            a, b = q_NHLE.chunk(2, dim=-1)
            cos, sin = cos_LE.to(a.dtype), sin_LE.to(a.dtype)
            return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

        return rotate


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(dropout)

    def forward(self, x_NLD: Tensor, rotate: Callable[[Tensor], Tensor]) -> Tensor:
        N, L, D = x_NLD.shape
        qkv = self.qkv(self.norm1(x_NLD)).view(N, L, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        x_NLD = x_NLD + self.dropout(self.out(mixed.transpose(1, 2).reshape(N, L, D)))
        return x_NLD + self.dropout(self.mlp(self.norm2(x_NLD)))  # type: ignore[no-any-return]
