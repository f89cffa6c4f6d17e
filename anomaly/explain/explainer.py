"""Why an ensemble scores sequences as it does.

Shapes: T events, N sequences, m statistics, F fields of the axis, K features.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anomaly.base import Analysis, Explainer, Explanation, FeatureMatrix, Statistics
from anomaly.detectors.neural import NeuralDetector
from anomaly.explain.axis import Axis
from anomaly.explain.deletion import delete
from anomaly.explain.events import Parts, event_parts, parts
from anomaly.explain.features import feature_parts
from anomaly.explain.items import items
from anomaly.explain.ledger import Key, Ledger
from anomaly.explain.lookup import STEP, counted_codes, to_events
from anomaly.explain.rankings import Rankings
from anomaly.explain.reasons import OTHER, code_of_feature, code_of_statistic
from anomaly.scores.statistics import Ragged

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from anomaly.ensemble.pipeline import CalibratedEnsemble
    from anomaly.events.encoder import EventEncoder
    from anomaly.explain.reference import Reference
    from anomaly.scores.statistics import EventResiduals
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

TRIES = (3, 2)
"""Sets of a sequence's events that are left out, by step; each costs about as much as scoring it once."""
USUAL = 0.5
"""Of a sequence with a larger p-value nothing is left out: it is as most are, and there is no score to fall."""
NOTHING: Mapping[str, Analysis] = MappingProxyType({})


@dataclass(frozen=True)
class Reasoned(Explanation):
    """An explanation of an ensemble's scores, with what the reasons are drawn from.

    Attributes
    ----------
    store : the sequences that are explained, one an item; where the event is the item, each ends with it
    past_n : events of each that came before the first that is counted
    score_n, p_value_n : calibrated
    p_nm : p-value of each statistic
    low_nm : whether a statistic is odd for being small
    features : what members on features read, or None
    feature_nK : (n, K) the part of the evidence that each feature carries
    rank_T : (T,) where to look first, see `anomaly.explain.ledger.Ledger.rank` and `EnsembleExplainer.refine`
    cut_T : (T,) what to leave out first for the score to fall, see `anomaly.explain.deletion`
    fall_T : (T,) how far the score falls without the event, NaN where that was not tried; of a set its even share
    reasons : (code, field) to (T,) the part of the evidence that speaks for it
    reason_p : (code, field) to (n,) the smallest p-value among the statistics that do
    residuals : what each neural member says of the events
    """

    store: SequenceStore
    past_n: NDArray[np.int64]
    score_n: Floats
    p_value_n: Floats
    p_nm: Floats
    low_nm: NDArray[np.bool_]
    features: FeatureMatrix | None
    feature_nK: Floats
    rank_T: Floats
    cut_T: Floats
    fall_T: Floats
    reasons: dict[Key, Floats]
    reason_p: dict[Key, Floats]
    residuals: dict[str, EventResiduals]

    def take(self, rows: NDArray[np.int64]) -> Reasoned:
        """Return the explanations of some of the sequences."""
        places, offsets = self.store.events_of(rows)
        places = places - self.store.offsets[0]
        return replace(
            self,
            evidence_n=self.evidence_n[rows],
            statistic_nm=self.statistic_nm[rows],
            part_TF=self.part_TF[places],
            offsets=offsets,
            store=self.store.take(rows),
            past_n=self.past_n[rows],
            score_n=self.score_n[rows],
            p_value_n=self.p_value_n[rows],
            p_nm=self.p_nm[rows],
            low_nm=self.low_nm[rows],
            features=None
            if self.features is None
            else FeatureMatrix(self.features.values[rows], self.features.names, None),
            feature_nK=self.feature_nK[rows],
            rank_T=self.rank_T[places],
            cut_T=self.cut_T[places],
            fall_T=self.fall_T[places],
            reasons={key: part_T[places] for key, part_T in self.reasons.items()},
            reason_p={key: p_n[rows] for key, p_n in self.reason_p.items()},
            residuals={name: r.take(rows, places, offsets) for name, r in self.residuals.items()},
        )


class _Read(NamedTuple):
    """The m statistics of the items: p-values, parts of the evidence, and whether each is odd for being small."""

    names: tuple[str, ...]
    p_nm: Floats
    part_nm: Floats
    low_nm: NDArray[np.bool_]

    def columns(self, members: Collection[str]) -> list[int]:
        """Return the places of what some members say."""
        return [k for k, name in enumerate(self.names) if name.partition(".")[0] in members]


class EnsembleExplainer(Explainer):
    """Split the evidence of a fitted `CalibratedEnsemble` over statistics, events and fields.

    The combiner says what each statistic adds, each member what its statistics are made of.

    Parameters
    ----------
    ensemble : fitted
    reference : what is usual, which tells large features from small ones
    encoder : names values
    tries : sets of each sequence's events of which is tried how far the score falls without them, by step; () for none
    """

    def __init__(
        self,
        *,
        ensemble: CalibratedEnsemble,
        reference: Reference,
        encoder: EventEncoder,
        tries: tuple[int, ...] = TRIES,
    ) -> None:
        self.ensemble = ensemble
        self.reference = reference
        self.encoder = encoder
        self.tries = tries

    def explain(self, X: SequenceStore, indices: Any = None) -> Reasoned:
        """Explain the sequences at some places of a store; all of them where none are named.

        Where the event is the item, the places are those of events, which are explained each at the end of its past;
        where none are named, every sequence's last.
        """
        return self.refine(self.split(X, indices))

    def refine(self, e: Reasoned) -> Reasoned:
        """Try how far each score falls without the events that come first, and let that tell in their rank.

        What an event carries is its part where all are there, the fall what it adds as the last one to come: the
        first and the last of the orders that a Shapley value averages over.
        """
        rows = np.flatnonzero(e.p_value_n <= USUAL)
        if self.ensemble.unit == "event" or not self.tries or not len(rows):
            return e
        part, places = e.take(rows), e.store.events_of(rows)[0] - e.store.offsets[0]
        found = delete(self._scores, part.store, part.score_n, Rankings(self.ensemble, part), self.tries)
        nats = np.maximum(np.nan_to_num(found.fall_T), 0.0) * np.log(10.0)
        rank_T, cut_T, fall_T = e.rank_T.copy(), e.cut_T.copy(), e.fall_T.copy()
        rank_T[places] += nats / np.repeat(np.maximum(part.evidence_n, 1e-12), np.diff(part.offsets))
        cut_T[places] = found.order(rank_T[places], Ragged(part.offsets))
        fall_T[places] = found.fall_T
        return replace(e, rank_T=rank_T, cut_T=cut_T, fall_T=fall_T)

    def split(self, X: SequenceStore, indices: Any = None) -> Reasoned:
        """Return the parts alone: nothing is tried, and the events are ranked by them."""
        X, past_n, analyses = items(self.ensemble, X, indices)
        neural = {n: m for n, m in self.ensemble.bank_.event_members_.items() if isinstance(m, NeuralDetector)}
        residuals = {name: member.residuals(X) for name, member in neural.items()}
        analyses |= {name: member.analyse_residuals(X, residuals[name]) for name, member in neural.items()}
        statistics, lengths = self._statistics(X, analyses)
        p_nm = self.ensemble.calibrator_.p_values(statistics, lengths)
        evidence_n = self.ensemble.combiner_.combine(p_nm)
        p_value_n = self._p_values(evidence_n, lengths)
        part_nm = self.ensemble.combiner_.contributions(p_nm)
        low_nm = self._low(statistics, lengths)
        axis = Axis.of(X)
        ledger = Ledger(axis)
        known = analyses if self.ensemble.unit == "event" else residuals
        read = _Read(statistics.names, p_nm, part_nm, low_nm)
        exact = self._events(ledger, read, known)
        features, feature_nK, more = self._features(X, read, analyses)
        if features is not None:
            p_n = p_nm[:, read.columns(self.ensemble.bank_.table_members_)].min(axis=1)
            self._lay_features(ledger, features, feature_nK, p_n)
        self._elsewhere(ledger, read)
        rank_T = ledger.rank()
        return Reasoned(
            evidence_n=evidence_n,
            statistics=statistics.names,
            statistic_nm=part_nm,
            exact_m=np.array([(exact | more).get(name, False) for name in statistics.names]),
            fields=axis.fields,
            part_TF=ledger.part_TF,
            offsets=X.offsets - X.offsets[0],
            store=X,
            past_n=past_n,
            score_n=-np.log10(p_value_n),
            p_value_n=p_value_n,
            p_nm=p_nm,
            low_nm=low_nm,
            features=features,
            feature_nK=feature_nK,
            rank_T=rank_T,
            cut_T=rank_T,
            fall_T=np.full(X.n_events, np.nan),
            reasons=ledger.reasons,
            reason_p=ledger.p_values,
            residuals=residuals,
        )

    def _scores(self, X: SequenceStore) -> Floats:
        """Return the scores of sequences."""
        statistics, lengths = self._statistics(X)
        evidence_n = self.ensemble.combiner_.combine(self.ensemble.calibrator_.p_values(statistics, lengths))
        return -np.log10(self._p_values(evidence_n, lengths))

    def _p_values(self, evidence_n: Floats, lengths: NDArray[np.int64]) -> Floats:
        p_n: Floats = self.ensemble.evidence_calibrator_.p_values(Statistics.single(evidence_n), lengths)[:, 0]
        return p_n

    def _statistics(
        self, X: SequenceStore, known: Mapping[str, Analysis] = NOTHING
    ) -> tuple[Statistics, NDArray[np.int64]]:
        """Return the statistics of the items and the lengths that name their buckets."""
        found = self.ensemble.bank_.read(X, known).statistics
        if self.ensemble.unit == "event":
            found = replace(found, values=found.values[X.offsets[1:] - X.offsets[0] - 1])
        return found, self.ensemble.buckets(X)

    def _low(self, statistics: Statistics, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n, m) whether a statistic of which both tails are odd lies in the lower half of its reference."""
        both = np.array([tail == "both" for tail in statistics.tails])
        upper = copy.copy(self.ensemble.calibrator_)
        upper.tails_ = ("upper",) * len(both)
        low: NDArray[np.bool_] = (upper.p_values(statistics, lengths) > 0.5) & both
        return low

    def _events(self, ledger: Ledger, read: _Read, known: Mapping[str, Any]) -> dict[str, bool]:
        """Book what the statistics of event members carry; return which are exact."""
        exact, axis = {}, ledger.axis
        find: Any = event_parts if self.ensemble.unit == "event" else parts
        for member, detector in self.ensemble.bank_.event_members_.items():
            found = find(detector, axis, known.get(member))
            ledger.surprise_T = found.surprise_T if ledger.surprise_T is None else ledger.surprise_T
            for k in read.columns((member,)):
                name, low_n = read.names[k], read.low_nm[:, k]
                weight_TF, exact[name] = _weights(found, name.partition(".")[2], low_n, axis)
                part_TF = axis.shares(weight_TF) * read.part_nm[axis.ragged.owner, k][:, None]
                for key, rows_N in _keys(found, name, low_n):
                    ledger.book(key, part_TF, read.p_nm[:, k], rows_N)
        return exact

    def _elsewhere(self, ledger: Ledger, read: _Read) -> None:
        """Book the statistics of members that see a sequence as a whole."""
        even = ledger.axis.shares(ledger.axis.whole())
        for k in read.columns(self.ensemble.bank_.sequence_members_):
            part_TF = even * read.part_nm[ledger.axis.ragged.owner, k][:, None]
            ledger.book((OTHER, ""), part_TF, read.p_nm[:, k], np.ones(len(read.p_nm), bool))

    def _lay_features(self, ledger: Ledger, features: FeatureMatrix, feature_nK: Floats, p_n: Floats) -> None:
        """Book what features carry, each for the code that it speaks for where it is large, or small."""
        medians = self.reference.medians
        medians = np.concatenate([medians, np.full(len(features.names) - len(medians), np.nan)])
        high_nK = ~(features.values < medians)
        keys: dict[Key, int] = {}
        kind_nK = np.zeros(feature_nK.shape, np.int64)
        for k in np.flatnonzero(feature_nK.any(axis=0)):
            name = self.feature_name(features.names[k])
            for high in (True, False):
                rows = (high_nK[:, k] == high) & (feature_nK[:, k] > 0)
                if rows.any():
                    key = code_of_feature(name, high, ledger.axis.fields[:-1])
                    kind_nK[rows, k] = keys.setdefault(key, len(keys))
        if keys:
            part_TF, part_TQ = to_events(ledger.axis, self.ensemble.bank_.aggregates_, features, feature_nK, kind_nK)
            ledger.book_kinds(list(keys), part_TF, part_TQ, p_n)

    def counted(self, e: Reasoned, n: int, field: str, *, steps: bool = False) -> tuple[int, ...]:
        """Return the code of a field of which the count carries most of a sequence's evidence; () for none.

        Parameters
        ----------
        steps : of the steps from one value to the next instead: the codes of both
        """
        if e.features is None:
            return ()
        known = [(k, *self._counts.get(name, ("", ()))) for k, name in enumerate(e.features.names)]
        part_k = {codes: float(e.feature_nK[n, k]) for k, own, codes in known if own == field}
        part_k = {codes: part for codes, part in part_k.items() if part > 0 and (len(codes) > 1) == steps}
        return max(part_k, key=part_k.__getitem__, default=())

    def feature_name(self, name: str) -> str:
        """Return the name of a feature, with values in place of the codes that it counts."""
        return self._names.get(name, name)

    @cached_property
    def _counts(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return counted_codes(self.ensemble.bank_.aggregates_)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Features that count a value or a step, with the values that their codes stand for."""
        each = self._counts.items()
        return {name: f"{field}={STEP.join(self.encoder.decode(field, codes))}" for name, (field, codes) in each}

    def _features(
        self, X: SequenceStore, read: _Read, analyses: Mapping[str, Analysis]
    ) -> tuple[FeatureMatrix | None, Floats, dict[str, bool]]:
        """Return the features, (n, K) what each carries, and which statistics of their members are exact."""
        bank = self.ensemble.bank_
        if not bank.table_members_:
            return None, np.zeros((len(X), 0)), {}
        known = {name: analysis.embedding_ND for name, analysis in analyses.items()}
        features = bank.features(X, bank.embedding(X, known))
        total, exact = np.zeros(features.values.shape), {}
        for member, detector in bank.table_members_.items():
            for statistic, (weight_nK, is_exact) in feature_parts(detector, features).items():
                name = f"{member}.{statistic}".rstrip(".")
                sums = weight_nK.sum(axis=1, keepdims=True)
                share_nK = np.where(sums > 0, weight_nK / np.where(sums > 0, sums, 1.0), 1.0 / weight_nK.shape[1])
                total += share_nK * read.part_nm[:, read.names.index(name)][:, None]
                exact[name] = is_exact
        return features, total, exact


def _keys(found: Parts, name: str, low_n: NDArray[np.bool_]) -> list[tuple[Key, NDArray[np.bool_]]]:
    """Return the reasons that a statistic speaks for, and in which sequences."""
    kinds = found.kinds.get(name.partition(".")[2])
    if kinds is None:
        return [(code_of_statistic(name, bool(low)), low_n == low) for low in np.unique(low_n)]
    rows: list[tuple[Key, NDArray[np.bool_]]] = [((str(code), ""), kinds == code) for code in dict.fromkeys(kinds)]
    return rows


def _weights(found: Parts, statistic: str, low_n: NDArray[np.bool_], axis: Axis) -> tuple[Floats, bool]:
    """Return the (T, F) weights of a statistic, of the low side where it is odd for being small."""
    high, exact = found.high.get(statistic) or found.high.get("") or (axis.whole(), False)
    if not low_n.any():
        return high, exact
    low, _ = found.low.get(statistic) or (axis.whole(), False)
    return np.where(low_n[axis.ragged.owner][:, None], low, high), exact
