"""Transformer blocks over padded or packed tokens.

Padded tokens, (N, L, D), are the plain form. Packed ones, (M, D), have no padding at all; they need a CUDA kernel that
takes half precision only, so autocast decides.

Shapes: N sequences, L longest sequence, M packed tokens, D width, H heads, E width of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anomaly.nn.dropout import Dropout
from anomaly.nn.pooling import positions

if TYPE_CHECKING:
    from collections.abc import Callable

    Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


PLAIN_UP_TO = 512
"""Tokens up to which attention in bf16 on a CPU is written out: the fused kernel takes four times as long backward."""


class Block(nn.Module):
    """Attention, then a perceptron, each on the norm of what came before and added to it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """Return the tokens' new states; `attend` mixes q, k and v (..., H, E) over the tokens of each sequence."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))
        mixed = attend(*qkv.unbind(-3))
        x = x + self.dropout(self.out(mixed.flatten(-2)))
        after: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return after


def padded_attention(frequency_E: Tensor, lengths_N: Tensor, longest: int, *, causal: bool) -> Attend:
    """Attend within (N, L, H, E), padded on the right: with a causal mask no real token sees the padding."""
    angle_LE = torch.outer(torch.arange(longest, device=frequency_E.device), frequency_E)
    cos_LE, sin_LE = angle_LE.cos(), angle_LE.sin()
    seen_N11L: Tensor | None = None
    if not causal and bool((lengths_N < longest).any()):
        seen_N11L = (torch.arange(longest, device=lengths_N.device) < lengths_N[:, None])[:, None, None]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        q, k = rotate(q, cos_LE, sin_LE), rotate(k, cos_LE, sin_LE)
        return _mix(q, k, v, seen_N11L, causal=causal).transpose(1, 2)

    return attend


def _mix(q: Tensor, k: Tensor, v: Tensor, seen_N11L: Tensor | None, *, causal: bool) -> Tensor:
    """Return softmax(q k') v (N, H, L, E) over the tokens that are seen."""
    longest = q.shape[2]
    if q.dtype != torch.bfloat16 or q.device.type != "cpu" or longest > PLAIN_UP_TO:
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen_N11L, is_causal=causal)
    scores_NHLL = (q * q.shape[-1] ** -0.5) @ k.mT
    if causal:
        scores_NHLL = scores_NHLL + scores_NHLL.new_full((longest, longest), -torch.inf).triu(1)
    elif seen_N11L is not None:
        scores_NHLL = scores_NHLL.masked_fill(~seen_N11L, -torch.inf)
    mixed_NHLE: Tensor = scores_NHLL.softmax(-1) @ v
    return mixed_NHLE


def packed_attention(frequency_E: Tensor, cu_seqlens: Tensor, n_tokens: int, longest: int, *, causal: bool) -> Attend:
    """Attend within (M, H, E), the tokens of all sequences end to end, none of more than `longest`."""
    from torch.nn.attention.varlen import varlen_attn

    angle_M1E = torch.outer(positions(cu_seqlens, n_tokens), frequency_E)[:, None]
    cos_M1E, sin_M1E = angle_M1E.cos(), angle_M1E.sin()
    ends, window = cu_seqlens.int(), (-1, 0) if causal else (-1, -1)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = rotate(q, cos_M1E, sin_M1E), rotate(k, cos_M1E, sin_M1E)
        mixed = varlen_attn(q, k, v.contiguous(), ends, ends, longest, longest, window_size=window)
        # It returns a tuple only where more than the mixture is asked for.
        return mixed if isinstance(mixed, Tensor) else mixed[0]

    return attend


def rotate(q: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of elements by their token's angle (Su et al. 2021, RoFormer)."""
    a, b = q.chunk(2, dim=-1)
    cos, sin = cos.to(a.dtype), sin.to(a.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def takes_packed(x: Tensor) -> bool:
    """Return whether the packed kernel takes this tensor's device and the precision that is in force on it."""
    if x.device.type != "cuda":
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    return dtype in (torch.bfloat16, torch.float16)
