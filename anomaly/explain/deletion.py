"""What to leave out of a sequence for its score to fall: a greedy search that tries whole sets of events.

Events that carry a score seldom do so alone: without the largest of several odd events the next takes its place. So the
search takes out a tenth of the events at a time, tries several sets for each tenth, and keeps the set without which the
score is lowest.

Shapes: T events, N sequences, R rankings, D depths, C = D R candidate sets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anomaly.features.segments import blocks, reported
from anomaly.scores.statistics import Ragged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

SHARES = (0.1, 0.2)
"""Of the events, taken out after each step."""
_BLOCK = 200_000
"""Events of edited copies that are scored at a time."""


def without(X: SequenceStore, kept_T: NDArray[np.bool_]) -> SequenceStore:
    """Return the sequences with the kept events alone; the time of what is left out passes all the same.

    They stay known as what they were: else a sequence of the training would vouch for its own copies.
    """
    left = X.for_edits().keep_events(kept_T)
    if not X.has_time:
        return left
    clock = np.cumsum(np.nan_to_num(np.asarray(X.delta, np.float64)))[kept_T]
    delta = np.diff(clock, prepend=0.0).astype(np.float32)
    delta[left.offsets[:-1][left.lengths > 0]] = 0.0
    return replace(left, delta=np.where(np.isnan(np.asarray(X.delta)[kept_T]), np.float32(np.nan), delta))


class Deletions(NamedTuple):
    """What was found by leaving events out.

    Attributes
    ----------
    step_T : (T,) step at which an event is taken out, from 1; 0 for those that stay
    fall_T : (T,) how far the score falls without the event, NaN where that was not tried; of a set its even share
    """

    step_T: NDArray[np.int64]
    fall_T: Floats

    def order(self, rank_T: Floats, ragged: Ragged) -> Floats:
        """Return (T,) ranks in which what was taken out stands first, step by step, and then the rest by rank."""
        lowest = -ragged.largest(-rank_T)
        above = (ragged.largest(rank_T) - lowest + 1.0)[ragged.owner]
        steps = np.where(self.step_T > 0, len(SHARES) + 1 - self.step_T, 0)
        ranks: Floats = rank_T - lowest[ragged.owner] + above * steps
        return ranks


def delete(
    score: Callable[[SequenceStore], Floats],
    X: SequenceStore,
    score_n: Floats,
    rankings: Callable[[NDArray[np.bool_], NDArray[np.bool_]], Sequence[Floats]],
    tries: Sequence[int],
) -> Deletions:
    """Take out the tenths of every sequence's events without which its score is lowest, one after the other.

    Candidates of a step are the next events of each ranking, then those after them, until enough sets differ. Every
    sequence is searched by itself, all of them at once.

    Parameters
    ----------
    score : of the sequences of a store
    score_n : of the sequences as they are
    rankings : given which events can be taken out and which are gone, rankings (T,) of them, the largest first; the
        first one says what a set is worth
    tries : sets that are tried at each step of `SHARES`; each costs about as much as scoring the sequence once
    """
    search = _Search(X)
    for step, (share, most) in enumerate(zip(SHARES, tries, strict=True), start=1):
        size_N = search.sizes(share)
        open_T = search.told_T & (search.step_T == 0) & (size_N > 0)[search.ragged.owner]
        sets = search.sets(rankings(open_T, search.step_T > 0), open_T, size_N, most)
        if len(sets.rows):
            left = search.left(sets)
            fall = score_n[sets.rows] - np.concatenate([score(part) for part in blocks(left, _BLOCK)])
            search.keep_best(step, sets, fall)
    return search.found()


class _Sets(NamedTuple):
    """Sets of events, each of which might be taken out of its sequence.

    Attributes
    ----------
    rows : the sequence of each set
    copy, places : the set, and the flat place, of every event of a copy of its sequence
    cut : whether the event is in the set
    """

    rows: NDArray[np.int64]
    copy: NDArray[np.int64]
    places: NDArray[np.int64]
    cut: NDArray[np.bool_]


class _Search:
    """Where every sequence stands: what is gone, and what was found when sets of its events were tried."""

    def __init__(self, X: SequenceStore) -> None:
        self.X, self.ragged, position = X, Ragged(X.offsets), X.position()
        self.told_T = reported(X)[1]
        self.told_N = self._count(self.told_T)
        # Two sets are the same where the sums of their events' random names are.
        names = np.random.default_rng(0).integers(2**40, size=int(X.lengths.max(initial=0)))
        self.names_T = names[position].astype(np.float64)
        self.step_T = np.zeros(X.n_events, np.int64)
        self.fall_T, self.tried_T = np.zeros(X.n_events), np.zeros(X.n_events)

    def sizes(self, share: float) -> NDArray[np.int64]:
        """Return (N,) how many more events are to go for a share of all to be gone; one at least has to stay."""
        goal_N = np.minimum(np.maximum(np.ceil(share * self.told_N), 1).astype(np.int64), self.told_N - 1)
        more_N: NDArray[np.int64] = goal_N - self._count(self.step_T > 0)
        return more_N

    def sets(self, ranked: Sequence[Floats], open_T: NDArray[np.bool_], size_N: NDArray[np.int64], most: int) -> _Sets:
        """Return the sets of open events to try, so many events each, at most `most` of a sequence."""
        size_T = size_N[self.ragged.owner]
        block_RT = np.stack(
            [np.where(open_T, self.ragged.places(x, open_T) // np.maximum(size_T, 1), -1) for x in ranked]
        )
        rows, ranking, depth = _candidates(self.ragged, block_RT, self.names_T, ranked[0], size_N, most)
        places, offsets = self.X.events_of(rows)
        places, copy = places - self.X.offsets[0], np.repeat(np.arange(len(rows)), np.diff(offsets))
        return _Sets(rows, copy, places, block_RT[ranking[copy], places] == depth[copy])

    def left(self, sets: _Sets) -> SequenceStore:
        """Return a copy of its sequence for each set, without it and what is gone."""
        return without(self.X.take(sets.rows), ~sets.cut & (self.step_T[sets.places] == 0))

    def keep_best(self, step: int, sets: _Sets, fall: Floats) -> None:
        """Take out of every sequence the set without which its score falls furthest."""
        cut, copy = sets.places[sets.cut], sets.copy[sets.cut]
        if step == 1:
            np.add.at(self.fall_T, cut, (fall / np.bincount(copy, minlength=len(fall)))[copy])
            np.add.at(self.tried_T, cut, 1.0)
        order = np.lexsort((-fall, sets.rows))
        best = np.zeros(len(fall), bool)
        best[order[np.diff(sets.rows[order], prepend=-1) != 0]] = True
        self.step_T[cut[best[copy]]] = step

    def found(self) -> Deletions:
        """Return what was taken out, and how far the scores fell."""
        return Deletions(self.step_T, np.where(self.tried_T > 0, self.fall_T / np.maximum(self.tried_T, 1.0), np.nan))

    def _count(self, some_T: NDArray[np.bool_]) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = self.ragged.subset(some_T).lengths
        return counts


def _candidates(
    ragged: Ragged,
    block_RT: NDArray[np.int64],
    names_T: Floats,
    worth_T: Floats,
    size_N: NDArray[np.int64],
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return sequence, ranking and depth of the sets to try: of those that differ the ones worth most, in all."""
    R, N = len(block_RT), len(size_N)
    name_NRD, worth_NRD, whole_NRD = (np.zeros((N, R, most)) for _ in range(3))
    for r, block_T in enumerate(block_RT):
        near = (block_T >= 0) & (block_T < most)
        place = ragged.owner[near] * most + block_T[near]
        for out_NRD, x_T in ((name_NRD, names_T), (worth_NRD, worth_T), (whole_NRD, np.ones(len(names_T)))):
            out_NRD[:, r] = np.bincount(place, x_T[near], N * most).reshape(N, most)
    order_NC = np.argsort(-worth_NRD.reshape(N, R * most), axis=1, kind="stable")
    name_NC = np.take_along_axis(name_NRD.reshape(N, R * most), order_NC, axis=1)
    new_NRD = (whole_NRD == size_N[:, None, None]) & (size_N > 0)[:, None, None]
    new_NC = np.take_along_axis(new_NRD.reshape(N, R * most), order_NC, axis=1)
    for c in range(1, new_NC.shape[1]):
        new_NC[:, c] &= ~((name_NC[:, :c] == name_NC[:, c : c + 1]) & new_NC[:, :c]).any(axis=1)
    rows, column = np.nonzero(new_NC & (np.cumsum(new_NC, axis=1) <= most))
    return rows, order_NC[rows, column] // most, order_NC[rows, column] % most
