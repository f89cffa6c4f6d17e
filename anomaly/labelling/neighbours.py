"""Which judged cases a case looks most like.

Shapes: n items, k columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anomaly.active.items import MEMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly.active.items import Items
    from anomaly.active.labels import Label

SHOWN = 4
_CLIP = 5.0


@dataclass(frozen=True)
class Neighbour:
    """A judged case and how alike it is, from 0 to 1."""

    item: str
    verdict: str
    typology: str | None
    note: str | None
    likeness: float


class Neighbours:
    """Items side by side in all their views, every column with spread 1."""

    def __init__(self, items: Items) -> None:
        views = {name: view for name, view in items.views.items() if name != MEMBERS} or dict(items.views)
        columns = [view.values for view in views.values()] + [items.scores[:, None]] * (not views)
        looks = np.concatenate(columns, axis=1).astype(np.float32)
        self.looks = looks[:, ~np.isnan(looks).all(axis=0)]
        centre, spread = np.nanmean(self.looks, axis=0), np.nanstd(self.looks, axis=0)
        self.looks -= centre
        self.looks /= np.where(spread > 0, spread, 1.0)
        np.clip(np.nan_to_num(self.looks, copy=False), -_CLIP, _CLIP, out=self.looks)

    def of(self, place: int, judged: Sequence[tuple[int, Label]], shown: int = SHOWN) -> list[Neighbour]:
        """Return the judged cases that look most alike, the most alike first."""
        others = [(p, row) for p, row in judged if p != place and row.verdict != "unsure"]
        if not others:
            return []
        square = np.square(self.looks[[p for p, _ in others]] - self.looks[place]).mean(axis=1)
        return [
            Neighbour(row.item, row.verdict, row.typology, row.note, float(np.exp(-0.5 * square[i])))
            for i in np.argsort(square, kind="stable")[:shown]
            for row in [others[i][1]]
        ]
