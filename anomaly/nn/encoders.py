"""Sequence encoders: packed events in, the states before and after each event out.

A causal encoder's state after an event has seen that event and what came before it, and nothing else.

Shapes: T packed events, N sequences, L longest sequence of the batch, D width, K states per recurrent cell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from anomaly.nn.attention import Block, packed_attention, padded_attention, takes_packed
from anomaly.nn.dropout import Dropout

if TYPE_CHECKING:
    from anomaly.nn.attention import Attend

Cell = Literal["gru", "lstm", "tcn", "transformer"]
CELLS: tuple[Cell, ...] = ("gru", "lstm", "tcn", "transformer")
KERNEL = 3
"""Events that one convolution reads."""


@dataclass
class Carry:
    """Where recurrent sequences stand: read where a piece begins, replaced where it ends.

    Attributes
    ----------
    state_KND : None at the beginning of the sequences
    """

    state_KND: Tensor | None = None


class Encoder(nn.Module, ABC):
    """What all encoders promise.

    Attributes
    ----------
    carries : whether a piece of a sequence can go on from the `Carry` that the piece before it left
    past : events before an event that its state depends on; None for all of them
    open : whether the state before an event is all that a piece needs that begins there
    """

    carries = False
    open = False
    past: int | None = None

    @abstractmethod
    def forward(
        self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor, longest: int, carry: Carry | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states before and after each event (T, D), given what is known before each sequence's first.

        They are float32, under autocast too: to add up the states of a long sequence in bf16 loses the later ones.
        No sequence is longer than `longest`, a number of the host's: to ask a device for it is to wait for the device.
        """


def build_encoder(cell: Cell, *, width: int, layers: int, heads: int, dropout: float, causal: bool = True) -> Encoder:
    """Return the encoder of a cell; only a transformer can look both ways."""
    if cell == "transformer":
        return TransformerEncoder(width=width, layers=layers, heads=heads, dropout=dropout, causal=causal)
    if cell == "tcn":
        return ConvolutionEncoder(width=width, layers=layers, dropout=dropout)
    return (GRUEncoder if cell == "gru" else LSTMEncoder)(width=width, layers=layers, dropout=dropout)


class GRUEncoder(Encoder):
    """Gated recurrent units over length-bucketed sequences."""

    carries = True

    def __init__(self, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.open = layers == 1

    def forward(
        self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor, longest: int, carry: Carry | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states before and after each event (T, D)."""
        x_NLD, place_T = pad(x_TD, cu_seqlens, longest)
        state_KND = start_ND.tanh().expand(self.gru.num_layers, -1, -1).contiguous()
        if carry is not None and carry.state_KND is not None:
            state_KND = carry.state_KND
        with _single_precision(x_NLD):
            hidden_NLD, last_KND = self.gru(x_NLD.float(), state_KND.float())
        if carry is not None:
            carry.state_KND = last_KND
        return before_and_after(_led_by(state_KND[-1], hidden_NLD.float()), place_T)


class LSTMEncoder(Encoder):
    """Long short-term memory over length-bucketed sequences; what is carried is hidden states, then cells."""

    carries = True

    def __init__(self, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(
        self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor, longest: int, carry: Carry | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states before and after each event (T, D)."""
        x_NLD, place_T = pad(x_TD, cu_seqlens, longest)
        hidden_KND = start_ND.tanh().expand(self.lstm.num_layers, -1, -1).contiguous()
        cell_KND = torch.zeros_like(hidden_KND)
        if carry is not None and carry.state_KND is not None:
            hidden_KND, cell_KND = (part.contiguous() for part in carry.state_KND.chunk(2))
        with _single_precision(x_NLD):
            hidden_NLD, last = self.lstm(x_NLD.float(), (hidden_KND.float(), cell_KND.float()))
        if carry is not None:
            carry.state_KND = torch.cat(last)
        return before_and_after(_led_by(hidden_KND[-1], hidden_NLD.float()), place_T)


class ConvolutionEncoder(Encoder):
    """Causal convolutions, each reaching twice as far back as the one before (Bai et al. 2018, TCN).

    The start is a token of its own at position 0.
    """

    def __init__(self, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Dilated(width, 2**k, dropout) for k in range(layers))
        self.norm = nn.LayerNorm(width)
        self.past = (KERNEL - 1) * (2**layers - 1)

    def forward(
        self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor, longest: int, carry: Carry | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states before and after each event (T, D)."""
        x_NLD, place_T = pad(x_TD, cu_seqlens, longest)
        x_NLD = _led_by(start_ND, x_NLD)
        for block in self.blocks:
            x_NLD = block(x_NLD)
        return before_and_after(self.norm(x_NLD), place_T)


class TransformerEncoder(Encoder):
    """Pre-norm transformer with rotary positions (Su et al. 2021, RoFormer).

    The start is a token of its own at position 0, so that every event attends to it.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dropout: float, causal: bool = True) -> None:
        super().__init__()
        self.causal = causal
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        frequency = 10_000.0 ** -(torch.arange(0, width // heads, 2) / (width // heads))
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(
        self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor, longest: int, carry: Carry | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states before and after each event (T, D); both see the whole sequence where it is not causal."""
        if takes_packed(x_TD):
            return self._packed(x_TD, start_ND, cu_seqlens, longest)
        x_NLD, place_T = pad(x_TD, cu_seqlens, longest)
        x_NLD = _led_by(start_ND, x_NLD)
        lengths_N = cu_seqlens.diff() + 1
        attend = padded_attention(self._frequency(), lengths_N, x_NLD.shape[1], causal=self.causal)
        return before_and_after(self._blocks(x_NLD, attend), place_T)

    def _packed(self, x_TD: Tensor, start_ND: Tensor, cu_seqlens: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        n = len(start_ND)
        cu_tokens = cu_seqlens + torch.arange(n + 1, device=cu_seqlens.device)
        sequence_T = torch.arange(n, device=x_TD.device).repeat_interleave(cu_seqlens.diff(), output_size=len(x_TD))
        place_T = torch.arange(len(x_TD), device=x_TD.device) + sequence_T + 1
        x_MD = x_TD.new_empty(len(x_TD) + n, x_TD.shape[1])
        x_MD = x_MD.index_copy(0, place_T, x_TD).index_copy(0, cu_tokens[:-1], start_ND.to(x_TD.dtype))
        attend = packed_attention(self._frequency(), cu_tokens, len(x_MD), longest + 1, causal=self.causal)
        x_MD = self._blocks(x_MD, attend)
        return x_MD.index_select(0, place_T - 1), x_MD.index_select(0, place_T)

    def _blocks(self, x: Tensor, attend: Attend) -> Tensor:
        for block in self.blocks:
            x = block(x, attend)
        normed: Tensor = self.norm(x)
        return normed

    def _frequency(self) -> Tensor:
        assert isinstance(self.frequency, Tensor)
        return self.frequency


class _Dilated(nn.Module):
    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = (KERNEL - 1) * dilation
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv1d(width, width, KERNEL, dilation=dilation)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x_NLD: Tensor) -> Tensor:
        past_NDL = nn.functional.pad(self.norm(x_NLD).transpose(1, 2), (self.reach, 0))
        mixed_NLD = nn.functional.gelu(self.convolution(past_NDL).transpose(1, 2))
        out_NLD: Tensor = x_NLD + self.dropout(self.out(mixed_NLD))
        return out_NLD


def pad(x_TD: Tensor, cu_seqlens: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Lay packed events out as (N, L, D), padded on the right to `longest`; also return each event's flat place in it.

    A causal encoder needs no padding mask: no real event ever sees what lies to its right.
    """
    lengths_N = cu_seqlens.diff()
    starts_N = torch.arange(len(lengths_N), device=x_TD.device) * longest
    shift_T = (starts_N - cu_seqlens[:-1]).repeat_interleave(lengths_N, output_size=len(x_TD))
    place_T = torch.arange(len(x_TD), device=x_TD.device) + shift_T
    x_PD = x_TD.new_zeros(len(lengths_N) * longest, x_TD.shape[1]).index_copy(0, place_T, x_TD)
    return x_PD.view(len(lengths_N), longest, -1), place_T


def before_and_after(states_NMD: Tensor, place_T: Tensor) -> tuple[Tensor, Tensor]:
    """Pack the states (N, L + 1, D), the start first, into those before and those after each event."""
    longest = states_NMD.shape[1] - 1
    states_PD = states_NMD.reshape(-1, states_NMD.shape[-1])
    # Every sequence has one state more than it has events.
    before_T = place_T + place_T.div(max(longest, 1), rounding_mode="floor")
    return states_PD.index_select(0, before_T), states_PD.index_select(0, before_T + 1)


def _single_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Leave mixed precision: where bf16 is asked for cuDNN's cells take float16, too narrow for unscaled gradients."""
    return torch.autocast(x.device.type, enabled=False) if x.device.type == "cuda" else nullcontext()


def _led_by(start_ND: Tensor, x_NLD: Tensor) -> Tensor:
    return torch.cat([start_ND[:, None].to(x_NLD.dtype), x_NLD], dim=1)
