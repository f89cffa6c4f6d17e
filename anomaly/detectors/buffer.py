"""Where the residuals of length-sorted batches come back into the store's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from anomaly.scores.statistics import EventResiduals
from anomaly.sequences.store import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from anomaly.nn.residuals import Residuals
    from anomaly.sequences.batch import Pieces
    from anomaly.sequences.store import SequenceStore


class ResidualBuffer:
    """Collect the residuals of a store's pieces; of overlapping pieces each event's own comes from one.

    What is a sequence's context is not judged: it has no surprisal, a tail of 1, an upper one of a half and no gap.

    Parameters
    ----------
    store : whose events are scored
    clock : (F,) bool, which of the F predicted fields tell the time of day or week
    width : of the embedding
    ordered : names of the G fields that are numbers
    closed, timed : whether the model predicts ends, and gaps
    profiles : whether a population pass yields a contrast
    """

    def __init__(
        self,
        store: SequenceStore,
        *,
        clock: NDArray[np.bool_],
        width: int,
        profiles: bool,
        closed: bool,
        timed: bool,
        ordered: tuple[str, ...] = (),
    ) -> None:
        T, F, N = store.n_events, len(clock), len(store)
        self.closed, self.timed, self.ordered = closed, timed, ordered
        self.origin = int(store.offsets[0])
        self.offsets, self.clock = store.offsets, clock
        self.surprisal_TF, self.expected_TF = np.zeros((T, F), np.float32), np.zeros((T, F), np.float32)
        self.tail_TF = np.ones((T, F), np.float32)
        self.upper_TG = np.full((T, len(ordered)), 0.5, np.float32)
        self.gap_surprisal_T, self.gap_pit_T = np.zeros(T, np.float32), np.full(T, np.nan, np.float32)
        self.contrast_T = np.zeros(T, np.float32) if profiles else None
        self.end_N = np.zeros(N, np.float32)
        self.embedding_ND, self.weight_N = np.zeros((N, width), np.float32), np.zeros(N, np.float32)

    def put(self, residuals: Residuals, population_TF: Tensor | None, pieces: Pieces) -> None:
        """Write one batch to the places of its judged events."""
        place_T = runs(pieces.fresh, pieces.end - pieces.fresh)[0] - self.origin
        for name in ("surprisal_TF", "expected_TF", "tail_TF", "upper_TG", "gap_surprisal_T", "gap_pit_T"):
            getattr(self, name)[place_T] = _numpy(getattr(residuals, name))
        if self.contrast_T is not None and population_TF is not None:
            own_TF = residuals.surprisal_TF[:, : population_TF.shape[1]]
            marks = torch.from_numpy(~self.clock[: population_TF.shape[1]]).to(own_TF.device)
            contrast_T = ((own_TF - population_TF) * marks).sum(dim=1)
            self.contrast_T[place_T] = _numpy(contrast_T)
        np.add.at(self.end_N, pieces.sequence, _numpy(residuals.end_N))
        share_P = pieces.lengths.astype(np.float32)
        np.add.at(self.embedding_ND, pieces.sequence, _numpy(residuals.embedding_ND) * share_P[:, None])
        np.add.at(self.weight_N, pieces.sequence, share_P)

    def finish(self) -> EventResiduals:
        """Return the residuals in the store's order."""
        return EventResiduals(
            surprisal_TF=self.surprisal_TF,
            expected_TF=self.expected_TF,
            tail_TF=self.tail_TF,
            upper_TG=self.upper_TG,
            gap_surprisal_T=self.gap_surprisal_T,
            gap_pit_T=self.gap_pit_T,
            end_N=self.end_N,
            contrast_T=self.contrast_T,
            embedding_ND=(self.embedding_ND / np.maximum(self.weight_N, 1)[:, None]).astype(np.float32),
            offsets=self.offsets,
            clock=self.clock,
            closed=self.closed,
            timed=self.timed,
            ordered=self.ordered,
        )


def _numpy(x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = x.to(device="cpu", dtype=torch.float32).numpy()
    return array
