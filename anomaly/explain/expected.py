"""What a model expected in an event's place.

Shapes: P places, T packed events, R of them that are judged, F fields, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from anomaly.sequences.store import FIRST_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.detectors.neural import NeuralDetector
    from anomaly.sequences.store import SequenceStore


class Expected(NamedTuple):
    """The likeliest codes of one field at some places.

    Attributes
    ----------
    codes, p : (P, k) the likeliest values, best first, and their probabilities
    own : (P,) the probability of what was there
    """

    codes: NDArray[np.int64]
    p: NDArray[np.float64]
    own: NDArray[np.float64]


@torch.inference_mode()
def expected(
    detector: NeuralDetector, X: SequenceStore, places: NDArray[np.int64], k: int = 3
) -> Mapping[str, Expected]:
    """Return by field what the model expected at some flat places, given what came before and the earlier fields.

    Places in the context of a sequence are not judged: there everything is 0.
    """
    owners = np.unique(X.sequence_of_event()[places])
    part = X.take(owners)
    inside, _ = X.events_of(owners)
    wanted = np.searchsorted(inside - X.offsets[0], places)
    out = [_empty(len(places), min(k, field.size - FIRST_VALUE)) for field in X.fields]
    for batch, pieces, before_TD in detector.readings(part):
        place_T = pieces.places()
        row_R = np.flatnonzero(place_T >= np.repeat(pieces.fresh, pieces.lengths))
        row = np.full(part.n_events, -1)
        row[place_T[row_R]] = row_R
        mine = np.flatnonzero(row[wanted] >= 0)
        if len(mine):
            rows = torch.from_numpy(row[wanted[mine]]).to(before_TD.device)
            _fill(detector.model_.field_heads, before_TD[rows], batch.codes_TF[rows], mine, out)
    return {field.name: found for field, found in zip(X.fields, out, strict=True) if found.codes.shape[1]}


def _empty(n: int, k: int) -> Expected:
    return Expected(np.zeros((n, max(k, 0)), np.int64), np.zeros((n, max(k, 0))), np.zeros(n))


def _fill(
    heads: Any, before_RD: torch.Tensor, codes_RF: torch.Tensor, mine: NDArray[np.int64], out: list[Expected]
) -> None:
    contexts = heads.contexts(before_RD, codes_RF, whole=False)
    for f, (head, found) in enumerate(zip(heads.outputs, out, strict=True)):
        p = head(contexts[f]).float().softmax(-1)
        found.own[mine] = p.gather(1, codes_RF[:, f : f + 1])[:, 0].cpu().numpy()
        # A reserved code is no value that could have been there instead.
        best = p[:, FIRST_VALUE:].topk(found.codes.shape[1], dim=1)
        found.codes[mine] = best.indices.cpu().numpy() + FIRST_VALUE
        found.p[mine] = best.values.cpu().numpy()
