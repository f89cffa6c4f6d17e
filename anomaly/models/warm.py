"""The weights of an older model, taken over by one whose vocabularies have grown.

Shapes: V codes of a field, F fields, S training sequences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from anomaly.errors import ConfigError
from anomaly.sequences.replay import appended

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from anomaly.models.base import SequenceNetwork
    from anomaly.sequences.store import SequenceStore

    Ints = NDArray[np.int64]

_OF_SEQUENCES = ("kept_S", "loss_S", "weight_S")
_OUTPUT = re.compile(r"(?:^|\.)outputs\.(\d+)\.")


@dataclass(frozen=True)
class WarmStart:
    """Where a training begins, instead of from nothing.

    Attributes
    ----------
    model : the older one
    maps : for each field, the new code of every old one
    replay : older sequences, in new codes, that are trained on beside the new ones; None where there are none
    """

    model: SequenceNetwork
    maps: list[Ints]
    replay: SequenceStore | None = None

    def __sklearn_clone__(self) -> WarmStart:
        return self

    def rehearse(self, X: SequenceStore) -> SequenceStore:
        """Return the training sequences, the older ones behind."""
        return X if self.replay is None else appended(X, self.replay)

    @torch.no_grad()
    def load_into(self, model: SequenceNetwork) -> None:
        """Take over every weight; rows of codes and entities that are new stay as they are.

        Raises
        ------
        ConfigError
            If the models differ in more than their vocabularies.
        """
        old, new = self.model.state_dict(), model.state_dict()
        starts = np.cumsum([0, *model.params["sizes"]])[:-1]
        for name, weight in new.items():
            if name in old and not name.endswith(_OF_SEQUENCES):
                self._copy(name, old[name], weight, starts)
        for key in ("gap_mean", "gap_std"):
            # The older weights read time in the older unit.
            if float(self.model.params["gap_std"]) > 0 and float(model.params["gap_std"]) > 0:
                model.params[key] = self.model.params[key]

    def _copy(self, name: str, old: Tensor, new: Tensor, starts: Ints) -> None:
        rows = self._rows(name, len(old) if old.ndim else 0, starts)
        fits = old.shape[1:] == new.shape[1:] and (not old.ndim or len(old) <= len(new))
        if not fits or (rows is None and old.shape != new.shape):
            raise ConfigError(
                f"init_from: {name} is {tuple(old.shape)} there and {tuple(new.shape)} here; "
                "give the model the shape that it had there"
            )
        if rows is None:
            new.copy_(old)
        else:
            new[torch.from_numpy(rows)] = old

    def _rows(self, name: str, n_old: int, starts: Ints) -> Ints | None:
        """Return the new rows of a weight's old ones, where its rows are codes or entities."""
        output = _OUTPUT.search(name)
        if output:
            return self.maps[int(output[1])]
        if name == "profile.weight":
            return np.arange(n_old)
        if name.endswith("table.weight"):
            return np.concatenate([start + codes for start, codes in zip(starts, self.maps, strict=True)])
        return None
