"""What happens in sessions, written as padded rows of event codes. N sessions, L the longest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly.simulation.log import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


def repeat(codes: Sequence[int], counts: Ints) -> Ints:
    """Return (N, L) rows that hold the codes, one after the other, `counts` times over."""
    longest = int(counts.max(initial=0))
    rows = np.tile(np.asarray(codes, np.int64), (len(counts), longest))
    return np.where(np.arange(rows.shape[1]) < len(codes) * counts[:, None], rows, NONE)


def mix(codes: Sequence[int], counts: Ints, rng: np.random.Generator) -> Ints:
    """Return (N, L) rows of `counts` codes drawn from the given ones."""
    rows = repeat([0], counts)
    return np.where(rows == NONE, NONE, rng.choice(codes, rows.shape))


def flatten(*parts: Ints) -> tuple[Ints, Ints]:
    """Return the session and the code of every event of rows that are made of parts, side by side."""
    rows = np.hstack(parts)
    session, place = np.nonzero(rows != NONE)
    return session, rows[session, place]
