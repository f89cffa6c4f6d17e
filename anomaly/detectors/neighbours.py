"""Nearest rows, and the two detectors that are made of them.

Shapes: n fitted rows, q rows asked about, d columns, k neighbours, c cells of s rows (some filled up with rows that are
infinitely far), p cells that a row is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Estimator
from anomaly.errors import DataError

Float = NDArray[np.float64]
Rows = NDArray[np.float32]
Places = NDArray[np.int64]

_SPARE = 4
"""Neighbours too many: the matrix product rounds, so a few more are found by it, and measured."""
_FIRST = 512
"""Rows that bound how far the k-th neighbour can be."""
_ASKED = 1 << 12
"""Rows asked about at a time; their numbers fit 16 bits, which sort by radix."""
_MEASURED = 512
"""Rows whose neighbours are measured at a time, so that they stay in the cache."""
_GROUPS = 4
"""Groups of columns from which on their minima are looked at first."""
_SAMPLE, _STEPS = 400, 4
"""Rows of a cell, and steps of the power method, that find its longest direction."""

_TINY = 1e-10
"""What scikit-learn adds to a mean distance, so that the density among copies is finite."""


class Neighbours(Estimator):
    """Find the nearest of the fitted rows by Euclidean distance.

    Rows lie in cells of equal size, each the half of a larger one, cut at the median of its longest direction. Up to
    `exact` rows are all compared. Of more, a row is compared with those in the cells whose centres are nearest (an
    inverted file; Jegou et al. 2011, section IV), so that the cost is linear in the rows. Nearly all neighbours are
    found where columns depend on each other; where they do not, those found are nearly as near.

    Parameters
    ----------
    exact : rows up to which all are compared
    cell : rows of a cell, at most
    probes : cells that a row is compared with where there are more rows than `exact`

    Attributes
    ----------
    mean_ : (d,) float32 of the rows
    cells_ : (c, s, d) float32 the rows by cell, less the mean
    halves_ : (c, s) float32 half their squared norms, infinite where a cell is filled up
    places_ : (c, s) int64 where they were
    centres_ : (c, d) float64 of the cells
    """

    def __init__(self, *, exact: int = 10_000, cell: int = 128, probes: int = 16) -> None:
        self.exact = exact
        self.cell = cell
        self.probes = probes

    def fit(self, X: NDArray[Any], y: None = None) -> Self:
        """Divide the rows into cells."""
        rows = np.asarray(X, np.float32)
        self.mean_ = rows.mean(0, dtype=np.float64).astype(np.float32)
        rows = rows - self.mean_
        cells = _divide(rows, -(-len(rows) // self.cell))
        shape = len(cells), max(len(cell) for cell in cells)
        self.cells_ = np.zeros((*shape, rows.shape[1]), np.float32)
        self.halves_ = np.full(shape, np.inf, np.float32)
        self.places_ = np.zeros(shape, np.int64)
        self.centres_ = np.empty((shape[0], rows.shape[1]))
        for c, cell in enumerate(cells):
            known = rows[cell]
            self.cells_[c, : len(cell)], self.places_[c, : len(cell)] = known, cell
            self.halves_[c, : len(cell)] = np.einsum("nd,nd->n", known, known) / 2
            self.centres_[c] = known.mean(0, dtype=np.float64)
        self.__dict__.pop("_columns", None)
        return self

    @property
    def n_rows(self) -> int:
        """Fitted rows."""
        return int(np.isfinite(self.halves_).sum())

    def rows(self) -> Rows:
        """Return (n, d) the fitted rows."""
        real = np.isfinite(self.halves_)
        out = np.empty((self.n_rows, self.cells_.shape[2]), np.float32)
        out[self.places_[real]] = self.cells_[real] + self.mean_
        return out

    def of_fitted(self, k: int) -> tuple[Float, Places]:
        """Return (n, k) distances, nearest first, and places of the neighbours of each fitted row, itself left out."""
        real = np.isfinite(self.halves_)
        itself = self.places_[real]
        found = self._nearest(self.cells_[real], k + 1)
        # Among many copies a row may not be one of its own neighbours; then the furthest goes.
        own = found[1] == itself[:, None]
        own[~own.any(1), -1] = True
        distance, place = np.empty((len(itself), k)), np.empty((len(itself), k), np.int64)
        distance[itself], place[itself] = (values[~own].reshape(-1, k) for values in found)
        return distance, place

    def of(self, X: NDArray[Any], k: int) -> tuple[Float, Places]:
        """Return (q, k) distances, nearest first, and places of the neighbours of rows."""
        return self._nearest(np.asarray(X, np.float32) - self.mean_, k)

    @cached_property
    def _columns(self) -> Rows:
        """(c, d + 1, s) the cells by column, and `halves_` as the last of them: one product compares."""
        return np.ascontiguousarray(np.concatenate([self.cells_, self.halves_[:, :, None]], 2).transpose(0, 2, 1))

    def _nearest(self, rows: Rows, k: int) -> tuple[Float, Places]:
        if k > self.n_rows:
            raise DataError(f"{k} neighbours among {self.n_rows} rows; ask for fewer")
        distance, place = np.empty((len(rows), k)), np.empty((len(rows), k), np.int64)
        for start in range(0, len(rows), _ASKED):
            some = slice(start, start + _ASKED)
            distance[some], place[some] = self._measured(rows[some], self._candidates(rows[some], k + _SPARE), k)
        return distance, place

    def _near(self, rows: Rows, k: int) -> Places:
        """Return (q, p) the cells to compare with, the nearest first."""
        count, n = len(self.cells_), self.n_rows
        # The least that a cell holds is n // c; enough cells hold the neighbours that are asked for.
        probes = count if n <= self.exact else min(max(self.probes, -(-k // (n // count))), count)
        # Products in double precision, so that which cells are near does not depend on the batch.
        half, centres = np.einsum("cd,cd->c", self.centres_, self.centres_) / 2, np.ascontiguousarray(self.centres_.T)
        near = np.empty((len(rows), probes), np.int64)
        for start in range(0, len(rows), _MEASURED):
            some = slice(start, start + _MEASURED)
            far = (half - rows[some].astype(np.float64) @ centres).astype(np.float32)
            nearest = _smallest(far, probes)
            order = np.argsort(np.take_along_axis(far, nearest, 1), axis=1, kind="stable")
            near[some] = np.take_along_axis(nearest, order, 1)
        return near

    def _candidates(self, rows: Rows, k: int) -> Places:
        """Return (q, k) numbers of the nearest rows in the cells that are near; fewer where there are no more.

        Compared are half the squared distances, less half the squared norm of the row that asks. The k-th of the first
        cells bounds the k-th of all, so of the others only what is nearer is kept.
        """
        near, size = self._near(rows, k), self.cells_.shape[1]
        asking = np.concatenate([-rows, np.ones((len(rows), 1), np.float32)], 1)
        first = -(-max(_FIRST, 2 * k) // size)
        far = np.empty((len(rows), min(first, near.shape[1]), size), np.float32)
        for cell, asked, turn in _by_cell(near[:, :first]):
            far[asked, turn] = asking[asked] @ self._columns[cell]
        far = far.reshape(len(rows), -1)
        best = _smallest(far, k)
        far = np.take_along_axis(far, best, 1)
        number: Places = np.take_along_axis(near, best // size, 1) * size + best % size
        if first >= near.shape[1]:
            return number
        bound, parts = far.max(1), []
        for cell, asked, _ in _by_cell(near[:, first:]):
            product = asking[asked] @ self._columns[cell]
            hit = (product < bound[asked, None]).ravel().nonzero()[0]
            parts.append((asked[hit // size], cell * size + hit % size, product.ravel()[hit]))
        asking, row, product = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(asking, kind="stable")
        further, theirs = _as_rows(len(rows), asking[order], row[order], product[order])
        best = _smallest(np.concatenate([far, further], 1), k)
        number = np.take_along_axis(np.concatenate([number, theirs], 1), best, 1)
        return number

    def _measured(self, rows: Rows, number: Places, k: int) -> tuple[Float, Places]:
        """Return the k nearest of the candidates, and how far they are."""
        known, square = self.cells_.reshape(-1, rows.shape[1]), np.empty(number.shape)
        for start in range(0, len(rows), _MEASURED):
            some = slice(start, start + _MEASURED)
            apart = known[number[some]]
            apart -= rows[some, None]
            square[some] = np.einsum("qkd,qkd->qk", apart, apart)
        square[np.isinf(self.halves_.ravel()[number])] = np.inf
        order = np.argsort(square, axis=1, kind="stable")[:, :k]
        place = self.places_.ravel()[np.take_along_axis(number, order, 1)]
        return np.sqrt(np.take_along_axis(square, order, 1)), place


class NearestDistance(Estimator):
    """Distance to the k nearest rows (Ramaswamy et al. 2000), of fitted rows to others than themselves.

    Parameters
    ----------
    method : the distance to the furthest of them, or the mean or the median of the distances
    """

    def __init__(self, *, n_neighbors: int = 5, method: Literal["largest", "mean", "median"] = "largest") -> None:
        self.n_neighbors = n_neighbors
        self.method = method

    def fit(self, X: NDArray[Any], y: None = None) -> Self:
        """Keep the rows, and score each without itself."""
        self.neighbours_ = Neighbours().fit(X)
        self.decision_scores_ = self._of(self.neighbours_.of_fitted(self.n_neighbors)[0])
        return self

    def decision_function(self, X: NDArray[Any]) -> Float:
        """Return (n,) distances of new rows."""
        return self._of(self.neighbours_.of(X, self.n_neighbors)[0])

    def _of(self, distance: Float) -> Float:
        if self.method == "largest":
            return distance[:, -1]
        middle: Float = distance.mean(axis=1) if self.method == "mean" else np.median(distance, axis=1)
        return middle


class LocalOutlierFactor(Estimator):
    """How much less dense it is around a row than around its neighbours (Breunig et al. 2000).

    Attributes
    ----------
    reach_, density_ : (n,) the distance of each fitted row to its k-th neighbour, and its local reachability density
    """

    def __init__(self, *, n_neighbors: int = 20) -> None:
        self.n_neighbors = n_neighbors

    def fit(self, X: NDArray[Any], y: None = None) -> Self:
        """Keep the rows, and score each without itself."""
        self.neighbours_ = Neighbours().fit(X)
        distance, place = self.neighbours_.of_fitted(self.n_neighbors)
        self.reach_ = distance[:, -1]
        self.density_ = self._density(distance, place)
        self.decision_scores_ = self.density_[place].mean(axis=1) / self.density_
        return self

    def decision_function(self, X: NDArray[Any]) -> Float:
        """Return (n,) factors of new rows."""
        distance, place = self.neighbours_.of(X, self.n_neighbors)
        factor: Float = self.density_[place].mean(axis=1) / self._density(distance, place)
        return factor

    def _density(self, distance: Float, place: Places) -> Float:
        density: Float = 1 / (np.maximum(distance, self.reach_[place]).mean(axis=1) + _TINY)
        return density


def _divide(rows: Rows, n_cells: int) -> list[Places]:
    """Return the places of the rows of each cell; sizes differ by one at most."""
    done, todo = [], [(np.arange(len(rows)), n_cells)]
    while todo:
        here, n = todo.pop()
        if n == 1:
            done.append(here)
            continue
        sample = rows[here[:: max(len(here) // _SAMPLE, 1)]]
        along = rows[here] @ _longest(sample - sample.mean(0))
        cut = len(here) * (n // 2) // n
        order = np.argpartition(along, cut)
        todo += [(here[order[:cut]], n // 2), (here[order[cut:]], n - n // 2)]
    return done


def _longest(rows: Rows) -> Rows:
    """Return (d,) about the first principal direction, from the column of the largest variance on."""
    direction: Rows = np.zeros(rows.shape[1], np.float32)
    direction[np.einsum("nd,nd->d", rows, rows).argmax()] = 1
    for _ in range(_STEPS):
        onto = (rows @ direction) @ rows
        direction = np.asarray(onto / max(float(np.linalg.norm(onto)), 1e-30), np.float32)
    return direction


def _smallest(values: Rows, k: int) -> Places:
    """Return (q, k) the columns of the k smallest of each row, in no order; of all where there are no more.

    Of 2k or more groups of columns, the k-th smallest of their minima is no less than the k-th smallest of all: what is
    greater is left out first, which takes a fraction of the time of partitioning everything.
    """
    q, m = values.shape
    if m <= k:
        return np.broadcast_to(np.arange(m), values.shape)
    groups = m // (2 * k)
    if groups < _GROUPS:
        return np.argpartition(values, k - 1, axis=1)[:, :k]
    width = m // groups
    least = np.minimum(*(values[:, g * width : (g + 1) * width] for g in (0, 1)))
    for g in range(2, groups):
        np.minimum(least, values[:, g * width : (g + 1) * width], out=least)
    bound = np.partition(least, k - 1, axis=1)[:, k - 1 : k]
    # Of rows with NaN, whose bound may be NaN, nothing is left out.
    hit = np.logical_not(values > bound).ravel().nonzero()[0]
    few, column = _as_rows(q, hit // m, hit % m, values.ravel()[hit])
    return np.take_along_axis(column, np.argpartition(few, k - 1, axis=1)[:, :k], 1)


def _by_cell(near: Places) -> Iterator[tuple[int, NDArray[np.uint16], Places]]:
    """Yield each cell that is near to any row, those rows, and in which column it stands."""
    order = np.argsort(near, axis=None, kind="stable")
    asked, turn = (order // near.shape[1]).astype(np.uint16), order % near.shape[1]
    cells, first = np.unique(near.ravel()[order], return_index=True)
    for cell, start, stop in zip(cells.tolist(), first.tolist(), [*first[1:].tolist(), len(order)], strict=True):
        yield cell, asked[start:stop], turn[start:stop]


def _as_rows(n: int, asked: NDArray[Any], number: Places, far: Rows) -> tuple[Rows, Places]:
    """Return distances and numbers, one line per row asked about, filled up with infinity; `asked` rises."""
    count = np.bincount(asked, minlength=n)
    column = np.arange(len(asked)) - np.repeat(np.cumsum(count) - count, count)
    lines, numbers = np.full((n, count.max()), np.inf, np.float32), np.zeros((n, count.max()), np.int64)
    lines[asked, column], numbers[asked, column] = far, number
    return lines, numbers
