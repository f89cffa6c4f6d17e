"""Events to vectors.

Shapes: T packed events, F fields, G numeric fields, D width, V codes of all fields together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anomaly.nn.dropout import Dropout
from anomaly.nn.shapes import by_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 1e6
"""Of a scaled number: its square, which the norm takes, must not leave float32."""


class FieldEmbedding(nn.Module):
    """One table for the codes of all fields; an event is the sum over its fields."""

    starts_F: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(sum(sizes), width, mode="sum")
        nn.init.normal_(self.table.weight, std=len(sizes) ** -0.5)
        starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("starts_F", starts, persistent=False)

    def forward(self, codes_TF: Tensor) -> Tensor:
        """Return (T, D)."""
        x_TD: Tensor = self.table(codes_TF + self.starts_F)
        return x_TD

    def one(self, f: int, codes_T: Tensor) -> Tensor:
        """Return (T, D), the vectors of one field."""
        return nn.functional.embedding(codes_T + self.starts_F[f], self.table.weight)


class EventEmbedding(nn.Module):
    """Sum of the fields' vectors, the numeric values and the time since the previous event.

    Parameters
    ----------
    sizes : codes of each of the F fields
    n_values : G
    width : D
    has_time : whether gaps are read
    unread : fields that are left out
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int],
        n_values: int,
        width: int,
        has_time: bool,
        dropout: float,
        unread: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.fields = FieldEmbedding(sizes, width)
        self.unread = list(unread)
        self.has_time = has_time
        n_inputs = n_values + (2 if has_time else 0)
        self.numbers = nn.Linear(n_inputs, width) if n_inputs else None
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, codes_TF: Tensor, values_TG: Tensor, log_gap_T: Tensor) -> Tensor:
        """Return (T, D); `log_gap_T` is standardised, NaN at a sequence's first event."""
        # One code for all is no news.
        x_TD = self.fields(codes_TF.index_fill(1, self._unread(codes_TF), 0) if self.unread else codes_TF)
        if self.numbers is not None:
            x_TD = x_TD + by_rows(self.numbers, self._numbers(values_TG, log_gap_T))
        out_TD: Tensor = self.dropout(self.norm(x_TD))
        return out_TD

    def _unread(self, codes_TF: Tensor) -> Tensor:
        return torch.tensor(self.unread, device=codes_TF.device)

    def _numbers(self, values_TG: Tensor, log_gap_T: Tensor) -> Tensor:
        values_TG = values_TG.clamp(-LARGEST, LARGEST)
        if not self.has_time:
            return values_TG
        known_T = ~log_gap_T.isnan()
        gap_T2 = torch.stack([log_gap_T.nan_to_num(0.0), known_T.to(values_TG.dtype)], dim=1)
        return torch.cat([values_TG, gap_T2], dim=1)


def sinusoids(place_T: Tensor, width: int) -> Tensor:
    """Return (T, D) fixed vectors of places in a sequence (Vaswani et al. 2017, section 3.5)."""
    frequency = 10_000.0 ** -(torch.arange(0, width, 2, device=place_T.device) / width)
    angle = torch.outer(place_T.float(), frequency)
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width]
