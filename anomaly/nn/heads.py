"""Heads that predict an event field by field: each given the history and the event's earlier fields.

Shapes: T packed events, F fields, D width, V codes of one field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anomaly.nn.dropout import Dropout
from anomaly.nn.embedding import FieldEmbedding

if TYPE_CHECKING:
    from collections.abc import Sequence

LOGITS_AT_ONCE = 1 << 21
"""Logits of one chunk: 8 MB of float32, so that softmax, entropy and tail read from cache."""


class ConditionalHeads(nn.Module):
    """p(event | history) as a product over fields (the chain rule, after Larochelle & Murray 2011, NADE).

    Parameters
    ----------
    sizes : codes of each of the F fields
    width : D
    """

    def __init__(self, *, sizes: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.base = nn.Linear(width, width)
        self.earlier = FieldEmbedding(sizes, width)
        self.dropout = Dropout(dropout)
        self.outputs = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def contexts(self, history_TD: Tensor, codes_TF: Tensor, *, whole: bool = True) -> Tensor:
        """Return (F + 1, T, D): what each field is predicted from; the last, of the whole event, only if asked for."""
        seen_TD = self.base(history_TD)
        raw = [seen_TD]
        for f in range(codes_TF.shape[1] if whole else codes_TF.shape[1] - 1):
            seen_TD = seen_TD + self.earlier.one(f, codes_TF[:, f])
            raw.append(seen_TD)
        return self.dropout(nn.functional.gelu(torch.stack(raw)))  # type: ignore[no-any-return]

    def surprisal(self, contexts_FTD: Tensor, codes_TF: Tensor) -> Tensor:
        """Return (T, F) negative log-probabilities in nats."""
        each = zip(self.outputs, contexts_FTD[: len(self.outputs)], codes_TF.T, strict=True)
        columns = [
            nn.functional.cross_entropy(out(x_TD).float(), codes_T, reduction="none") for out, x_TD, codes_T in each
        ]
        return torch.stack(columns, dim=1)

    def score(self, contexts_FTD: Tensor, codes_TF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return surprisal, expected surprisal (the entropy) and tail (T, F).

        The tail is the probability of a value at most as probable as the one seen, its own half counted once.
        """
        parts = [self._score_field(f, contexts_FTD[f], codes_TF[:, f]) for f in range(len(self.outputs))]
        surprisal, entropy, tail = (torch.stack(columns, dim=1) for columns in zip(*parts, strict=True))
        return surprisal, entropy, tail

    def _score_field(self, f: int, context_TD: Tensor, codes_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.outputs[f]
        rows = max(LOGITS_AT_ONCE // int(output.out_features), 256)  # type: ignore[arg-type]
        chunks = [
            _score_logits(output(context).float(), codes)
            for context, codes in zip(torch.split(context_TD, rows), torch.split(codes_T, rows), strict=True)
        ]
        surprisal, entropy, tail = (torch.cat(column) for column in zip(*chunks, strict=True))
        return surprisal, entropy, tail


def _score_logits(logits_TV: Tensor, codes_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    log_p_TV = logits_TV.log_softmax(-1)
    p_TV = log_p_TV.exp()
    own_T1 = log_p_TV.gather(1, codes_T[:, None])
    entropy_T = -(p_TV * log_p_TV).sum(-1)
    tail_T = (p_TV * (log_p_TV <= own_T1)).sum(-1) - 0.5 * own_T1[:, 0].exp()
    return -own_T1[:, 0], entropy_T, tail_T.clamp(1e-12, 1.0)
