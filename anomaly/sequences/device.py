"""A store's columns on a device, so that batches are gathered where they are used.

Shapes: T events, F fields, G numeric fields, P pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from anomaly.sequences.batch import SequenceBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.sequences.batch import Pieces
    from anomaly.sequences.store import SequenceStore

LARGEST_SHARE = 0.4
"""Of the device's free memory that the columns may take."""


class DeviceColumns:
    """The flat columns of a store as tensors."""

    def __init__(self, store: SequenceStore, device: torch.device) -> None:
        self.device = device
        self.codes_TF = torch.from_numpy(np.array(store.codes, np.int32)).to(device)
        self.values_TG = torch.from_numpy(np.array(store.values, np.float32)).to(device)
        self.delta_T = torch.from_numpy(np.array(store.delta, np.float32)).to(device)
        self.store = store

    def collate(self, pieces: Pieces, chosen: NDArray[np.int64]) -> SequenceBatch:
        """Gather the chosen pieces into one packed batch, as `anomaly.sequences.batch.collate` does.

        Only (P,) numbers go to the device, and the size of the result is known here: nothing waits for it.
        """
        begin, end, sequence = pieces.begin[chosen], pieces.end[chosen], pieces.sequence[chosen]
        offsets, past = np.concatenate([[0], np.cumsum(end - begin)]), pieces.fresh[chosen] - begin
        lengths_P, shift_P = self._put(end - begin), self._put(begin - offsets[:-1])
        total = int(offsets[-1])
        place_T = torch.arange(total, device=self.device) + shift_P.repeat_interleave(lengths_P, output_size=total)
        return SequenceBatch(
            codes_TF=self.codes_TF.index_select(0, place_T).long(),
            values_TG=self.values_TG.index_select(0, place_T),
            delta_T=self.delta_T.index_select(0, place_T),
            cu_seqlens=self._put(offsets),
            longest=int((end - begin).max(initial=0)),
            entity_N=self._put(self.store.entity[sequence].astype(np.int64)),
            index_N=self._put(sequence),
            starts_N=self._put(begin == self.store.offsets[:-1][sequence]),
            ends_N=self._put(end == self.store.offsets[1:][sequence]),
            past_N=self._put(past) if past.any() else None,
        )

    def _put(self, array: NDArray[np.generic]) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def takes(device: torch.device, store: SequenceStore) -> bool:
    """Return whether a device is a CUDA one with room for a store's columns."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return 4 * store.n_events * (len(store.fields) + len(store.value_names) + 1) < LARGEST_SHARE * free
