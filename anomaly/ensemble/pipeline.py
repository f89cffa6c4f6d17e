"""The whole way from sequences to one calibrated score, as a detector.

Members are fitted on earlier sequences, calibrated on the latest, taught by corruptions which of them to trust, and
calibrated once more together. No label is read anywhere. Where ends tell nothing and few sequences are held out, pieces
of these of all lengths calibrate as well.

Shapes: T events, N sequences, n items (sequences or events), m statistics.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone

from anomaly.base import Detector, Progress, Statistics, silent
from anomaly.ensemble.bank import BankReading, MemberBank
from anomaly.ensemble.combine import CorruptionMixture
from anomaly.ensemble.damage import damage, sample_of
from anomaly.ensemble.power import power_rows
from anomaly.ensemble.reference import Calibrating, Reference, joined, unlearnt
from anomaly.ensemble.scored import Scored
from anomaly.errors import DataError
from anomaly.features.segments import distinct, reported
from anomaly.scores.calibration import STRANGER, ShortPasts
from anomaly.sequences.pieces import scales
from anomaly.sequences.split import come_again, latest_per_entity
from anomaly.sequences.strangers import Acquaintance, as_strangers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from anomaly.base import ScoreCalibrator, ScoreCombiner
    from anomaly.ensemble.bank import Unit
    from anomaly.ensemble.reference import Part
    from anomaly.features.aggregates import SequenceAggregates
    from anomaly.sequences.corrupt import Corruption
    from anomaly.sequences.split import Split
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

SMALLEST = 19
"""Sequences below which a p-value cannot reach 5%."""

DOUBT = {"sequence": 0.2, "event": 1.0}
"""Of corruptions: of a sequence's many statistics most are idle, of an event's few any may be the one that tells."""

CONTRAST = "contrast"
"""In the names of statistics that ask whether an item is odd for its owner; the others ask it for the crowd."""
ONE_LENGTH = 0.95
"""Share of sequences of one length from which on they are taken for windows."""
FEW = 200
"""Held-out sequences below which pieces of them calibrate too, where ends are open."""


class CalibratedEnsemble(Detector):
    """Members, their calibration, their combination and its calibration.

    Parameters
    ----------
    members : name to detector, see `anomaly.ensemble.bank.MemberBank`
    calibrator : raw statistics to p-values; cloned once for the members, once for the combination, once for events
    combiner : p-values to evidence; None is `CorruptionMixture` with the `DOUBT` of the unit
    corruptions : kinds of trouble, by name, that the combiner learns from and the power report counts
    aggregates : features of the members that read features
    unit : "sequence", or "event" where single events with their past are the items
    held_out : share of the sequences that calibrates, the latest of each entity; where the event is the item and
        entities have one sequence, of its events
    corrupted_events : held-out events, at most, that each kind of corruption damages
    random_state : seed of the split and of the corruptions
    """

    reads = "sequences"

    keys_: NDArray[np.uint64] | None = None
    """Where the latest events are held out, sorted keys of what was learnt of a sequence; None where sequences are."""
    has_strangers_ = False
    """Whether sequences of which nothing was learnt, or of whose entity, are judged among their like."""
    known_: NDArray[np.int64] | None = None
    only_: NDArray[np.uint64] | None = None
    """What was learnt of entities, see `Acquaintance`; None where there are none."""
    labelled_: Any = None
    """What has learnt from labels, see `anomaly.artifact.labelled`; it ranks anew what was scored without them."""

    def __init__(
        self,
        *,
        members: Mapping[str, Detector],
        calibrator: ScoreCalibrator,
        corruptions: Mapping[str, Corruption],
        combiner: ScoreCombiner | None = None,
        aggregates: SequenceAggregates | None = None,
        unit: Unit = "sequence",
        held_out: float = 0.2,
        corrupted_events: int = 50_000,
        contamination: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.calibrator = calibrator
        self.combiner = combiner
        self.corruptions = corruptions
        self.aggregates = aggregates
        self.unit = unit
        self.held_out = held_out
        self.corrupted_events = corrupted_events
        self.contamination = contamination
        self.random_state = random_state

    def fit(
        self,
        X: SequenceStore,
        y: NDArray[np.int64] | None = None,
        *,
        workspace: Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Fit, calibrate and combine; labels are not used.

        Parameters
        ----------
        workspace : folder of checkpoints; a fit that was killed goes on from what it holds
        """
        if len(X) < SMALLEST:
            shorter = ", or shorter ones: events.gap=30m or events.window=50" if X.n_events > len(X) else ""
            raise DataError(f"{len(X)} sequences are too few to calibrate on; give at least {SMALLEST}{shorter}")
        self.closed_ = bool(X.closed and lengths_vary(X.lengths))
        self.has_strangers_, self.known_, self.only_ = False, None, None
        train, held_out = self.split(X)
        self.keys_ = None if train.learnt is None else distinct(train.keys())
        self.bank_ = MemberBank(
            members=self.members, aggregates=self.aggregates, unit=self.unit, random_state=self.random_state
        )
        self.bank_.fit(train, held_out=unlearnt(held_out), workspace=workspace, progress=progress)
        progress("calibrating")
        strangers = self._strangers(train, held_out, X)
        reference = self._calibrate(self.seen(held_out), strangers)
        if not self.names_:
            raise DataError(f"{', '.join(self.members)}: nothing to tell of such rows; choose further members")
        progress("learning from corruptions")
        self._learn(reference)
        self._calibrate_evidence(reference)
        self.decision_scores_ = self.reference_scores_
        self.threshold_ = float(np.quantile(self.decision_scores_, 1 - self.contamination))
        return self

    def score(self, X: SequenceStore) -> Scored:
        """Return the scores of every reported item and of every event."""
        scored = self.score_unlabelled(X)
        return scored if self.labelled_ is None else self.labelled_.rank(self, self.seen(X), scored)

    def score_fitted(self, X: SequenceStore) -> Scored:
        """Return the scores of the store that `fit` was given, once, without reading again what calibrates."""
        known: BankReading | None = self.__dict__.pop("_held_out_reading", None)
        if known is None:
            return self.score(X)
        train, held_out = self._sequences(X)
        X = self.seen(X)
        found = BankReading.concat([self.bank_.read(X.take(train)), known])
        return self._score(X, found.in_order(X, np.concatenate([train, held_out])))

    def seen(self, X: SequenceStore) -> SequenceStore:
        """Return the store with its ends open where in training they told nothing, and what was learnt of it named.

        Of entities of which nothing else is known nothing is known: their profiles would vouch for what made them.
        """
        if self.keys_ is not None and X.learnt is None:
            X = replace(X, learnt=X.longest_known(self.keys_))
        X = replace(X, closed=X.closed and self.closed_)
        strange = self._strange(X) & (X.entity > 0)
        return replace(X.for_edits(), entity=np.where(strange, 0, X.entity)) if strange.any() else X

    def score_unlabelled(self, X: SequenceStore) -> Scored:
        """Return the scores as they are without labels."""
        self._check_fitted()
        X = self.seen(X)
        return self._score(X, self.bank_.read(X))

    def _score(self, X: SequenceStore, reading: BankReading) -> Scored:
        items, lengths = self._items(X)
        P_nm = self.calibrator_.p_values(_rows(reading.statistics, items), lengths)
        p_value = self._p_of_evidence(self.combiner_.combine(P_nm), lengths)
        event_p = self._event_p(X, reading)
        return Scored(
            score=-np.log10(p_value),
            p_value=p_value,
            member_names=reading.statistics.names,
            member_scores=-np.log10(P_nm),
            item_event=items if self.unit == "event" else None,
            event_score=-np.log10(event_p),
            event_p_value=event_p,
            event_field=reading.fields_TF.argmax(axis=1),
            event_fields=reading.fields_TF,
            event_field_names=self.bank_.field_names,
        )

    def decision_function(self, X: SequenceStore) -> Floats:
        """Return (n,) the scores alone."""
        return self.score(X).score

    @property
    def weights_(self) -> dict[str, float]:
        """Weight of each statistic in the combination; they sum to 1."""
        return dict(zip(self.names_, map(float, self.combiner_.weights_), strict=True))

    @property
    def curve_(self) -> list[dict[str, Any]]:
        """Training and held-out loss of every epoch of every member that has one."""
        members = self.bank_.trained_members.items()
        return [{"member": name, **row} for name, member in members for row in getattr(member, "curve_", [])]

    @property
    def warnings_(self) -> list[str]:
        """What a reader of the scores must know."""
        members = self.bank_.trained_members.items()
        stopped = [name for name, member in members if getattr(member, "stopped_by_time_", False)]
        return [f"the training of {name} was stopped by trainer.max_time" for name in stopped]

    def power(self, threshold: float) -> list[dict[str, Any]]:
        """Return, for every kind of corruption, the share of damaged items whose score exceeds a threshold."""
        return power_rows(self.corrupted_scores_, threshold)

    def _sequences(self, X: SequenceStore) -> Split:
        return latest_per_entity(X, self.held_out, random_state=self.random_state)

    def split(self, X: SequenceStore) -> tuple[SequenceStore, SequenceStore]:
        """Return what `fit` learns from, and what it holds out."""
        X = self.seen(X)
        # The beginning of a visit vouches for its end, and nothing that was learnt does so for a visit to come.
        if self.unit == "sequence" or come_again(X):
            train, latest = self._sequences(X)
            return X.take(train), X.take(latest)
        cut_N = np.maximum(((1 - self.held_out) * X.lengths).astype(np.int64), 1)
        head_T = X.position() < np.repeat(cut_N, X.lengths)
        X = replace(X, learnt=cut_N)
        return X.keep_events(head_T), X

    def _items(
        self, X: SequenceStore, kept_T: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the reported items, or of some, and the length that names each one's bucket."""
        if self.unit == "sequence":
            return np.arange(len(X)), self.buckets(X)
        kept_T = reported(X)[1] if kept_T is None else kept_T
        return np.flatnonzero(kept_T), self._places(X)[kept_T]

    def buckets(self, X: SequenceStore) -> NDArray[np.int64]:
        """Return (N,) what names the bucket of each sequence: its length, and `STRANGER` more if nobody knows whose."""
        buckets: NDArray[np.int64] = X.lengths + STRANGER * self._strange(X)
        return buckets

    def _strange(self, X: SequenceStore) -> NDArray[np.bool_]:
        """Return (N,) whether nothing was learnt that tells of whose a sequence is."""
        if not self.has_strangers_:
            return np.zeros(len(X), bool)
        if self.known_ is not None and self.only_ is not None:
            return Acquaintance(self.known_, self.only_).lacks(X)
        return np.zeros(len(X), bool) if X.learnt is None else X.learnt == 0

    def _places(self, X: SequenceStore) -> NDArray[np.int64]:
        """Return (T,) what names the bucket of each event: its place from 1, and `STRANGER` more as for sequences."""
        places: NDArray[np.int64] = X.position() + 1 + np.repeat(self.buckets(X) - X.lengths, X.lengths)
        return places

    def _strangers(self, train: SequenceStore, held_out: SequenceStore, X: SequenceStore) -> list[Calibrating]:
        """Return held-out sequences of which something was learnt as if nothing were; none where too few are known."""
        learnt = Acquaintance.of(train)
        some = sample_of(held_out, self.corrupted_events, np.random.default_rng(self.random_state))
        if X.n_entities > 1:
            some = some.take(learnt.known[some.entity] > 0)
        if len(some) < SMALLEST or (X.n_entities <= 1 and some.learnt is None):
            return []
        self.has_strangers_ = True
        if X.n_entities > 1:
            self.known_, self.only_ = learnt
        return [Calibrating.of(some)._replace(X=as_strangers(some, X))]

    def _calibrate(self, held_out: SequenceStore, strangers: list[Calibrating]) -> Reference:
        """Calibrate members and events, and return the items that they were calibrated on."""
        own = Calibrating.of(held_out)
        readings = [(part, self.bank_.read(part.X)) for part in (own, *strangers)]
        if self.unit == "sequence":
            self._held_out_reading = readings[0][1]
        self.names_ = readings[0][1].statistics.names
        self.event_calibrator_ = ShortPasts(calibrator=clone(self.calibrator))
        self.event_calibrator_.fit(*joined([self._events_of(part, reading) for part, reading in readings]))
        parts, pieces = [self._items_of(part, reading) for part, reading in readings], self._pieces(held_out)
        parts += [(self.bank_.read(X).statistics, self.buckets(X), np.zeros(len(X), bool)) for X in pieces]
        statistics, lengths, learnt = joined(parts)
        new = np.flatnonzero(~learnt)
        self.calibrator_ = self._calibrator(pieces, len(held_out)).fit(_rows(statistics, new), lengths[new])
        P_nm = self.calibrator_.p_values(statistics, lengths)
        shown = np.repeat([1 <= k <= len(strangers) for k in range(len(parts))], [len(part[1]) for part in parts])
        return Reference(unlearnt(held_out), pieces, P_nm, lengths, learnt, ~(learnt | shown))

    def _items_of(self, part: Calibrating, reading: BankReading) -> Part:
        """Return what calibrates members."""
        items, lengths = self._items(part.X, part.kept_T)
        learnt = np.zeros(len(items), bool) if self.unit == "sequence" else part.learnt_T[items]
        return _rows(reading.statistics, items), lengths, learnt

    def _events_of(self, part: Calibrating, reading: BankReading) -> Part:
        """Return what calibrates the scores of events."""
        return *self._events(part.X, reading, part.kept_T), part.learnt_T[part.kept_T]

    def _pieces(self, held_out: SequenceStore) -> list[SequenceStore]:
        """Return pieces of few held-out sequences, scale by scale; none where ends mean something."""
        if self.unit == "event" or held_out.closed or len(held_out) >= FEW:
            return []
        return [scale.of(held_out) for scale in scales(held_out)]

    def _calibrator(self, pieces: list[SequenceStore], n: int) -> ScoreCalibrator:
        """Return a new calibrator, in whose buckets n whole sequences stay apart from the shorter pieces of them."""
        calibrator: ScoreCalibrator = clone(self.calibrator)
        if pieces and "smallest_bucket" in calibrator.get_params():
            smallest = min(calibrator.get_params()["smallest_bucket"], n, SMALLEST)
            calibrator.set_params(smallest_bucket=smallest)
        return calibrator

    def _learn(self, reference: Reference) -> None:
        """Damage held-out sequences; one half of them teaches the combiner, the other tells the power."""
        parts = damage(
            self.corruptions,
            reference.scales(self.corrupted_events),
            self._judge,
            unit=self.unit,
            n_events=self.corrupted_events,
            random_state=self.random_state,
        )
        self.damaged_ = {name: (P[1::2], lengths[1::2]) for name, (P, lengths) in parts.items()}
        lessons = [P[::2] for P, _ in parts.values()]
        # Variants teach as one kind: a field alone is told so easily by rare pairs that these would speak for the rest.
        taught = np.unique([name.partition(".")[0] for name in parts], return_inverse=True)[1]
        kinds = np.repeat(taught, [len(part) for part in lessons])
        P_corrupted = np.concatenate(lessons) if lessons else None
        questions = np.array([CONTRAST in name.partition(".")[2] for name in self.names_], np.int64)
        self.combiner_ = clone(self.combiner or CorruptionMixture(doubt=DOUBT[self.unit]))
        self.combiner_.fit(
            reference.P_nm[reference.teaches], P_corrupted, kinds if lessons else None, questions=questions
        )

    def _judge(self, store: SequenceStore, touched: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
        """Return the p-values (k, m) and lengths of damaged items; where events are the items, of the touched ones."""
        items, lengths = self._items(store)
        if self.unit == "event":
            items, lengths = items[touched], lengths[touched]
        return self.calibrator_.p_values(_rows(self.bank_.read(store).statistics, items), lengths), lengths

    def _calibrate_evidence(self, reference: Reference) -> None:
        evidence, lengths = self.combiner_.combine(reference.P_nm), reference.lengths
        calibrator = ShortPasts(calibrator=self._calibrator(reference.pieces, len(reference.held_out)))
        self.evidence_calibrator_ = calibrator.fit(Statistics.single(evidence), lengths, reference.learnt)
        self.reference_p_values_ = self._p_of_evidence(evidence[reference.teaches], lengths[reference.teaches])
        self.reference_scores_ = -np.log10(self.reference_p_values_)
        self.corrupted_scores_ = {
            name: -np.log10(self._p_of_evidence(self.combiner_.combine(P), own))
            for name, (P, own) in self.damaged_.items()
        }
        del self.damaged_

    def _p_of_evidence(self, evidence: Floats, lengths: NDArray[np.int64]) -> Floats:
        p: Floats = self.evidence_calibrator_.p_values(Statistics.single(evidence), lengths)[:, 0]
        return p

    def _events(
        self, X: SequenceStore, reading: BankReading, kept_T: NDArray[np.bool_]
    ) -> tuple[Statistics, NDArray[np.int64]]:
        """Return the evidence of some events, and what names their buckets."""
        return Statistics.single(reading.fields_TF[kept_T].sum(axis=1, dtype=np.float64)), self._places(X)[kept_T]

    def _event_p(self, X: SequenceStore, reading: BankReading) -> Floats:
        p, kept_T = np.ones(X.n_events), reported(X)[1]
        p[kept_T] = self.event_calibrator_.p_values(*self._events(X, reading, kept_T))[:, 0]
        return p


def lengths_vary(lengths: NDArray[np.int64]) -> bool:
    """Return whether sequences end where something ends: not if nearly all have one length, as windows have."""
    return bool(np.mean(lengths == np.median(lengths)) < ONE_LENGTH)


def _rows(statistics: Statistics, rows: NDArray[np.int64]) -> Statistics:
    if len(rows) == len(statistics.values):
        return statistics
    return replace(statistics, values=statistics.values[rows])
