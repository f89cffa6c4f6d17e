"""Members that others wrote: what they do wrong is told with their name, before it reaches the calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pytest

from anomaly.base import Detector, EventDetector
from anomaly.errors import DataError
from anomaly.sequences.store import SequenceStore

Make = Callable[..., Any]


class Own(Detector):
    """A user's own detector on features, with a fault."""

    def __init__(self, *, fault: str = "") -> None:
        self.fault = fault

    def fit(self, X: Any, y: Any = None) -> Self:
        if self.fault == "fit":
            raise OSError("my server is away")
        self.fitted_ = True
        return self

    def decision_function(self, X: Any) -> Any:
        scores = np.arange(len(X), dtype=np.float64)
        if self.fault == "score":
            raise RuntimeError("my score is broken")
        if self.fault == "memory":
            raise MemoryError
        if self.fault == "shape":
            return scores[1:]
        scores[: {"nan": len(X), "some": 3, "infinite": 1}.get(self.fault, 0)] = (
            np.inf if "inf" in self.fault else np.nan
        )
        return scores


class OwnEvents(EventDetector):
    """One that scores events."""

    def fit(self, X: SequenceStore, y: Any = None) -> Self:
        self.names_ = ["page"]
        return self

    def decision_function(self, X: SequenceStore) -> Any:
        return np.zeros(len(X))

    def score_fields(self, X: SequenceStore) -> Any:
        return np.full((X.n_events, 1), np.nan, np.float32)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("fit", r"detector own failed: OSError: my server is away; debug=true shows where"),
        ("score", r"detector own failed: RuntimeError: my score is broken"),
        ("nan", r"detector own: (\d+) of \1 scores are NaN or infinite"),
        ("some", r"detector own: 3 of \d+ scores are NaN or infinite"),
        ("infinite", r"detector own: 1 of \d+ scores are NaN or infinite"),
        ("shape", r"detector own: scores of shape \(\d+, 1\) for \d+ items"),
    ],
)
def test_a_faulty_member_is_named(fault: str, words: str, ensemble_of: Make, store_of: Make) -> None:
    with pytest.raises(DataError, match=words):
        ensemble_of(members={"own": Own(fault=fault)}).fit(store_of(60))


def test_evidence_of_events_counts_as_well(ensemble_of: Make, store_of: Make) -> None:
    with pytest.raises(DataError, match=r"detector mine: (\d+) of \1 scores of events are NaN or infinite"):
        ensemble_of(members={"mine": OwnEvents()}).fit(store_of(60))


def test_a_member_without_fault_takes_part(ensemble_of: Make, store_of: Make) -> None:
    assert ensemble_of(members={"own": Own()}).fit(store_of(60)).names_ == ("own",)


def test_memory_that_runs_out_is_no_fault_of_a_member(ensemble_of: Make, store_of: Make) -> None:
    with pytest.raises(MemoryError):
        ensemble_of(members={"own": Own(fault="memory")}).fit(store_of(60))
