"""What a report is made from: plain things, already computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from anomaly.explain.story import Told


class CaseEvent(NamedTuple):
    """One event of a case: where it stands, what it holds, and how much of the score it carried."""

    position: int
    time: str
    fields: Mapping[str, str]
    evidence: float
    top_field: str
    expected: str = ""


@dataclass(frozen=True)
class Case:
    """One of the top items with its events; those that carried most, or all of them.

    Attributes
    ----------
    item : id of the sequence, or of the event where single events are ranked
    events : of `CaseEvent`, or tuples in its order, by position
    length : events of the whole sequence; taken from the last position where it is not given
    reasons : the largest first
    usual : rows of ``field``, ``value``, ``here`` and ``usual``, shares of the events; ``whose`` is "own" or "all"
    nearest : ids of the usual sequences that are most alike
    edit : what would make it unremarkable, as a phrase
    """

    item: Any
    entity: Any
    rank: int
    score: float
    p_value: float
    events: Sequence[CaseEvent | tuple[int, str, Mapping[str, str], float, str]]
    length: int | None = None
    reasons: Sequence[Told] = ()
    usual: Sequence[Mapping[str, Any]] = ()
    nearest: Sequence[Any] = ()
    edit: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows.

    Attributes
    ----------
    title : the run's name
    scores : as ``scores.parquet``; times are told by the clock of their zone
    threshold : a policy's ``summary()``: ``policy``, its settings, ``threshold`` on the score, ``depends_on_file``
    run : what was run (version, seed, device, wall time, ...), shown as it stands
    data : what was read (path, rows, first and last time, ...), shown as it stands
    findings : rows of the data checks, every key a column; ``level`` (``warning``, ``error``) is marked
    schema : the inferred columns as the overrides that would state them
    training : rows with ``epoch`` or ``step`` and one or more losses
    event_scores : as ``event_scores.parquet``
    timelines : the top cases with their events
    members : rows of ``member``, ``weight``, and with labels ``auroc`` and ``average_precision``
    power : rows of ``kind``, ``found`` (share of the corrupted sequences that are flagged), ``n``
    warnings : lines a reader must not miss, such as that training stopped at its time limit
    metrics : what `anomaly.metrics.evaluate` returned, where there are labels
    reproduce : commands that make the same run again
    held_out_p_values : (n,) p-values of held-out sequences, to be compared with those of `scores`
    item : what is ranked, ``sequence``, ``event`` or ``row``
    reasons : item to its reasons, for more than the top cases
    clusters : rows of ``members`` and ``typical`` (items), ``reasons`` and ``where`` (text and mean share)
    drift : rows of ``field``, ``change``, ``before``, ``now`` and ``message``
    groups : rows of ``group``, ``n``, ``flagged``, and with labels ``normal`` and ``false`` (normal ones flagged)
    grouped_by : the column that groups
    left_out : columns that were not read, and why
    no_alert : why nothing is flagged, "" where something is
    timezone : name of the clock that times are told by, "" where none is stated
    language : of the reasons
    learnt : what analysts' labels have decided within the learner that lies in the run, a line each
    """

    title: str
    scores: pl.DataFrame
    threshold: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    schema: Sequence[str] = ()
    training: Sequence[Mapping[str, Any]] = ()
    event_scores: pl.DataFrame | None = None
    timelines: Sequence[Case] = ()
    members: Sequence[Mapping[str, Any]] = ()
    power: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    metrics: Mapping[str, Any] | None = None
    reproduce: Sequence[str] = ()
    held_out_p_values: NDArray[np.float64] | None = None
    item: str = "sequence"
    reasons: Mapping[Any, Sequence[Told]] = field(default_factory=dict)
    clusters: Sequence[Mapping[str, Any]] = ()
    drift: Sequence[Mapping[str, Any]] = ()
    groups: Sequence[Mapping[str, Any]] = ()
    grouped_by: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    no_alert: str = ""
    timezone: str = ""
    language: str = "en"
    learnt: Sequence[str] = ()

    @property
    def key(self) -> str:
        """Column of the scores that names the items."""
        return "id" if self.item == "event" else "sequence"
