"""The pool that is ranked and labelled: scores, what each item looks like, and whom it is linked to.

Shapes: n items, k columns of a view, m members, L shared values (devices, cards, addresses, owners).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from anomaly.base import FeatureMatrix
from anomaly.errors import DataError
from anomaly.sequences.store import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMBERS, EMBEDDING = "members", "embedding"
"""Views with a meaning of their own: -log10 of the members' p-values, and the model's embedding."""
OWNER = np.uint64(1) << np.uint64(63)
"""Set in the codes of owners, so that none is taken for a field's value."""


@dataclass(frozen=True)
class Links:
    """Values that items share, ragged: item i holds ``codes[offsets[i]:offsets[i + 1]]``, none of them twice.

    Attributes
    ----------
    offsets : (n + 1,) int64
    codes : uint64, one number for each value of each kind, the same in every file
    """

    offsets: NDArray[np.int64]
    codes: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: NDArray[np.int64]) -> Links:
        """Return the links of some items."""
        places, offsets = runs(self.offsets[rows], np.diff(self.offsets)[rows])
        return Links(offsets, self.codes[places])


@dataclass(frozen=True)
class Items:
    """A pool of scored items.

    Attributes
    ----------
    ids : n unique ids, of the data's own type
    scores : (n,) float64, the unsupervised score, higher is more anomalous
    views : name to matrix of n rows; a table has one, a run has `members`, `aggregates`, `embedding` or `fields`
    links : the values that items share, None where there are none
    """

    ids: pl.Series
    scores: NDArray[np.float64]
    views: Mapping[str, FeatureMatrix] = field(default_factory=dict)
    links: Links | None = None

    def __post_init__(self) -> None:
        sizes = {"ids": len(self.ids), "scores": len(self.scores), **{k: len(v) for k, v in self.views.items()}}
        sizes |= {} if self.links is None else {"links": len(self.links)}
        if len(set(sizes.values())) > 1:
            raise DataError(f"items differ in number: {sizes}; give one row of each per item")
        if not np.isfinite(self.scores).all():
            raise DataError(f"{int((~np.isfinite(self.scores)).sum())} scores are not finite numbers")

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: Any) -> Items:
        """Return some items, in that order."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        views = {name: FeatureMatrix(view.values[index], view.names) for name, view in self.views.items()}
        links = None if self.links is None else self.links.take(index)
        return Items(self.ids[index], self.scores[index], views, links)
