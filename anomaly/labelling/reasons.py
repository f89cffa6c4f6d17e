"""Why a case ranks where it does, as `anomaly explain` tells it: worked out once, while the case is on screen."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from anomaly.artifact.explaining import explainer_of
from anomaly.explain.narrate import Narrator

if TYPE_CHECKING:
    from anomaly.artifact.run import Run
    from anomaly.explain.story import Told
    from anomaly.explain.words import Language
    from anomaly.sequences.store import SequenceStore


class Reasons:
    """The reasons of a run's cases, each case explained once; severity and share tell of the score, and only with it.

    Parameters
    ----------
    run : with its sequences
    kept : cases whose reasons are kept; beyond, the oldest go
    patience : seconds to wait for others' cases before this one goes without
    language : of what is told
    """

    def __init__(self, run: Run, *, kept: int = 10_000, patience: float = 5.0, language: Language = "en") -> None:
        self.run = run
        self.kept = kept
        self.patience = patience
        self.language: Language = language
        self._told: dict[int, list[Told]] = {}
        self._lock = Lock()

    def known(self, place: int) -> list[Told] | None:
        """Return the reasons of a case that were told before, at once."""
        return self._told.get(place)

    def tell(self, place: int, store: SequenceStore, at: int) -> list[Told]:
        """Return the reasons of a case, none where too many wait; one is worked out at a time, so verdicts keep pace.

        Parameters
        ----------
        store, at : what holds the case, and where: the place of its sequence, or of its event where that is the item
        """
        told = self.known(place)
        if told is not None:
            return told
        if not self._lock.acquire(timeout=self.patience):
            return []
        try:
            told = self.known(place)
            if told is None:
                told = self._told[place] = self._explain(store, at)
                if len(self._told) > self.kept:
                    self._told.pop(next(iter(self._told)))
            return told
        finally:
            self._lock.release()

    def _explain(self, store: SequenceStore, at: int) -> list[Told]:
        return self._narrator.tell(self._narrator.explainer.explain(store, np.array([at])))[0].told()

    @cached_property
    def _narrator(self) -> Narrator:
        return Narrator(explainer_of(self.run), contrast=False, language=self.language)
