"""Heads that predict an event field by field: each given the history and the event's earlier fields.

Shapes: T packed events, F fields, D width, V codes of one field, K sampled codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from anomaly.events.binning import MISSING
from anomaly.nn.dropout import Dropout
from anomaly.nn.embedding import FieldEmbedding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LOGITS_AT_ONCE = 1 << 19
"""Logits of one tile on a CPU: 2 MB of float32, so that softmax, entropy and tail read from cache."""
LOGITS_ON_DEVICE = 1 << 24
"""The same elsewhere, where a tile costs the start of its kernels."""
CODES_AT_ONCE = 8192
"""Codes of one tile, so that their weights stay in cache too."""
SAMPLED_FROM = 4096
"""Codes from which on a field trains with a sampled softmax."""
SAMPLES = 512
"""Codes that stand for all the others there."""
ROUNDING = 1e-5
"""Relative; what two ways to sum one logit differ by."""
ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether products can be asked of oneDNN, which on some processors takes half of MKL's time."""


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

    def contexts(self, history_TD: Tensor, codes_TF: Tensor, *, whole: bool = True) -> list[Tensor]:
        """Return F + 1 times (T, D): what each field is predicted from; the last, of the event, only if asked for."""
        seen_TD = self.base(history_TD)
        raw = [seen_TD]
        for f in range(codes_TF.shape[1] if whole else codes_TF.shape[1] - 1):
            seen_TD = seen_TD + self.earlier.one(f, codes_TF[:, f])
            raw.append(seen_TD)
        # Not one tensor of all: memory that large is asked for and given back anew in every step.
        return [self.dropout(nn.functional.gelu(x_TD)) for x_TD in raw]

    def surprisal(self, contexts_F: Sequence[Tensor], codes_TF: Tensor) -> Tensor:
        """Return (T, F) negative log-probabilities in nats; those of large fields are estimates while training."""
        each = self._each(contexts_F, codes_TF)
        return torch.stack([self._surprisal(out, x_TD, codes_T) for out, x_TD, codes_T in each], dim=1)

    def score(self, contexts_F: Sequence[Tensor], codes_TF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return surprisal, expected surprisal (the entropy) and tail (T, F).

        The tail is the probability of a value at most as probable as the one seen, its own half counted once.
        """
        parts = [_score_field(out, x_TD, codes_T) for out, x_TD, codes_T in self._each(contexts_F, codes_TF)]
        surprisal, entropy, tail = (torch.stack(columns, dim=1) for columns in zip(*parts, strict=True))
        return surprisal, entropy, tail

    def upper_tail(self, contexts_F: Sequence[Tensor], codes_TF: Tensor, fields: Sequence[int]) -> Tensor:
        """Return (T, G) the probability of a larger number than the one seen, half of its own bin's included.

        Of the numbers alone: a missing one is neither large nor small, and has a half.
        """
        columns = [_upper_tail(self.outputs[f](contexts_F[f]).float(), codes_TF[:, f]) for f in fields]
        return torch.stack(columns, dim=1) if columns else contexts_F[0].new_zeros((len(codes_TF), 0))

    def _each(self, contexts_F: Sequence[Tensor], codes_TF: Tensor) -> Iterator[tuple[nn.Linear, Tensor, Tensor]]:
        """Yield the head, what it is given and the codes of every field."""
        outputs = cast("Sequence[nn.Linear]", self.outputs)
        yield from zip(outputs, contexts_F[: len(outputs)], codes_TF.T, strict=True)

    def _surprisal(self, output: nn.Linear, x_TD: Tensor, codes_T: Tensor) -> Tensor:
        if not self.training:
            return torch.cat([_row_surprisal(output, x, codes) for x, codes in _rows(x_TD, codes_T, output)])
        if output.out_features < SAMPLED_FROM:
            return _cross_entropy(output, x_TD, codes_T)
        return _sampled_surprisal(output, x_TD, codes_T)


def _cross_entropy(output: nn.Linear, x_TD: Tensor, codes_T: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output(x_TD).float(), codes_T, reduction="none")


def _sampled_surprisal(output: nn.Linear, x_TD: Tensor, codes_T: Tensor) -> Tensor:
    """Estimate -log softmax from the own logit and K others, each standing for as many as it was likely to be drawn.

    Half of them are drawn from the batch, hence by frequency, and half evenly, so that no code goes unseen
    (Bengio & Senécal 2008, adaptive importance sampling; Jean et al. 2015, section 3).
    """
    size, device = output.out_features, x_TD.device
    place_K = torch.randint(len(codes_T), (SAMPLES // 2,), device=device)
    drawn_K = torch.cat([codes_T[place_K], torch.randint(size, (SAMPLES // 2,), device=device)])
    share_V = torch.bincount(codes_T, minlength=size).to(torch.float32) / len(codes_T)
    expected_K = SAMPLES * (0.5 * share_V[drawn_K] + 0.5 / size)
    logits_TK = nn.functional.linear(x_TD, output.weight[drawn_K], output.bias[drawn_K]).float() - expected_K.log()
    logits_TK = logits_TK.masked_fill(codes_T[:, None] == drawn_K, -torch.inf)
    own_T = _own_logit(output, x_TD, codes_T)
    return torch.logaddexp(own_T, logits_TK.logsumexp(-1)) - own_T


def _own_logit(output: nn.Linear, x_TD: Tensor, codes_T: Tensor) -> Tensor:
    return (x_TD * output.weight[codes_T]).sum(-1).float() + output.bias[codes_T].float()


def _row_surprisal(output: nn.Linear, x_TD: Tensor, codes_T: Tensor) -> Tensor:
    if output.out_features > CODES_AT_ONCE:
        parts = [logits_TV.logsumexp(-1) for logits_TV in _tiles(output, x_TD)]
        return torch.stack(parts).logsumexp(0) - _own_logit(output, x_TD, codes_T)
    (logits_TV,) = _tiles(output, x_TD)
    shifted_TV = logits_TV.sub_(logits_TV.detach().amax(-1, keepdim=True))
    own_T = shifted_TV.gather(1, codes_T[:, None])[:, 0]
    return shifted_TV.exp().sum(-1).log() - own_T


def _score_field(output: nn.Linear, x_TD: Tensor, codes_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    chunks = [_score_rows(output, x, codes) for x, codes in _rows(x_TD, codes_T, output)]
    surprisal, entropy, tail = (torch.cat(column) for column in zip(*chunks, strict=True))
    return surprisal, entropy, tail


def _score_rows(output: nn.Linear, x_TD: Tensor, codes_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if output.out_features > CODES_AT_ONCE:
        own_T = _own_logit(output, x_TD, codes_T)
        return _score_tiles(own_T, own_T + ROUNDING * (1 + own_T.abs()), _tiles(output, x_TD))
    (logits_TV,) = _tiles(output, x_TD)
    own_T = logits_TV.gather(1, codes_T[:, None])[:, 0]
    return _score_tiles(own_T, own_T, [logits_TV])


def _upper_tail(logits_TV: Tensor, codes_T: Tensor) -> Tensor:
    p_TV = logits_TV[:, MISSING + 1 :].softmax(-1)
    from_own_TV = p_TV.flip(-1).cumsum(-1).flip(-1) - 0.5 * p_TV
    place_T = codes_T - (MISSING + 1)
    own_T = from_own_TV.gather(1, place_T.clamp(min=0)[:, None])[:, 0].clamp(0.0, 1.0)
    return torch.where(place_T >= 0, own_T, 0.5)


def _score_tiles(own_T: Tensor, level_T: Tensor, tiles: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return surprisal, entropy and tail from the own logits and consecutive tiles of all logits, which are used up.

    Parameters
    ----------
    level_T : the largest logit that counts as no more probable than the own one
    """
    # All sums are in units of exp(peak), the largest logit so far.
    peak_T, total_T, energy_T, below_T = own_T, *(torch.zeros_like(own_T) for _ in range(3))
    for logits_TV in tiles:
        higher_T = torch.maximum(peak_T, logits_TV.amax(-1))
        fall_T = peak_T - higher_T
        scale_T = fall_T.exp()
        shifted_TV = logits_TV.sub_(higher_T[:, None])
        mass_TV = shifted_TV.exp()
        # A higher peak lowers every logit that was summed before.
        energy_T = scale_T * (energy_T + fall_T * total_T) + torch.linalg.vecdot(mass_TV, shifted_TV)
        total_T = scale_T * total_T + mass_TV.sum(-1)
        low_TV = shifted_TV.le_((level_T - higher_T)[:, None])
        below_T = scale_T * below_T + torch.linalg.vecdot(mass_TV, low_TV)
        peak_T = higher_T
    surprisal_T = (total_T.log() + (peak_T - own_T)).clamp(min=0.0)
    tail_T = below_T / total_T - 0.5 * (-surprisal_T).exp()
    return surprisal_T, total_T.log() - energy_T / total_T, tail_T.clamp(1e-12, 1.0)


def _rows(x_TD: Tensor, codes_T: Tensor, output: nn.Linear) -> Iterator[tuple[Tensor, Tensor]]:
    logits = LOGITS_AT_ONCE if x_TD.device.type == "cpu" else LOGITS_ON_DEVICE
    rows = max(logits // min(output.out_features, CODES_AT_ONCE), 1)
    return zip(torch.split(x_TD, rows), torch.split(codes_T, rows), strict=True)


def _tiles(output: nn.Linear, x_TD: Tensor) -> Iterator[Tensor]:
    """Yield the logits of consecutive codes."""
    weights, biases = (torch.split(x, CODES_AT_ONCE) for x in (output.weight, output.bias))
    for weight_VD, bias_V in zip(weights, biases, strict=True):
        yield _product(x_TD, weight_VD, bias_V).float()


def _product(x_TD: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
    """Return (T, V) the logits."""
    plain = x_TD.device.type == "cpu" and x_TD.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if ONEDNN and plain and not torch.is_grad_enabled():
        logits_TV: Tensor = torch.ops.mkldnn._linear_pointwise(x_TD, weight_VD, bias_V, "none", [], "")
        return logits_TV
    return nn.functional.linear(x_TD, weight_VD, bias_V)
