"""Why a case ranks where it does, as `anomaly explain` tells it: worked out once, while the case is on screen."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from anomaly.artifact.explaining import explainer_of
from anomaly.explain.narrate import Narrator
from anomaly.explain.sentences import title

if TYPE_CHECKING:
    from anomaly.artifact.run import Run
    from anomaly.sequences.store import SequenceStore


class Reason(NamedTuple):
    """One reason of a case; its severity and share stay untold, as they tell of the score."""

    code: str
    title: str
    sentence: str


class Reasons:
    """The reasons of a run's cases, each case explained once.

    Parameters
    ----------
    run : with its sequences
    kept : cases whose reasons are kept; beyond, the oldest go
    """

    def __init__(self, run: Run, *, kept: int = 10_000) -> None:
        self.run = run
        self.kept = kept
        self._told: dict[int, list[Reason]] = {}
        self._lock = Lock()

    def known(self, place: int) -> list[Reason] | None:
        """Return the reasons of a case that were told before, at once."""
        return self._told.get(place)

    def tell(self, place: int, store: SequenceStore) -> list[Reason]:
        """Return the reasons of a case; one case is worked out at a time, so that verdicts keep their pace.

        Parameters
        ----------
        store : the case alone; where the event is the item, ended by it
        """
        with self._lock:
            if place not in self._told:
                found = self._narrator.tell(self._narrator.explainer.explain(store))[0]
                pairs = zip(found.reasons, found.sentences(), strict=True)
                self._told[place] = [Reason(reason.code, title(reason.code), text) for reason, text in pairs]
                if len(self._told) > self.kept:
                    self._told.pop(next(iter(self._told)))
            return self._told.get(place, [])

    @cached_property
    def _narrator(self) -> Narrator:
        return Narrator(explainer_of(self.run), contrast=False)
