"""What every contract is tested on: one line per class. A new class is one more line here.

A case makes a fresh, seeded object; `data` says what it reads. Nothing else about a class is known to the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.active.aad import ActiveAnomalyDiscovery
from anomaly.active.deep import BackgroundTuning
from anomaly.active.member_weights import MemberWeights
from anomaly.active.pine import PineForest
from anomaly.active.pu_trees import PositiveUnlabelledTrees
from anomaly.active.residual_gp import ResidualGP
from anomaly.active.router import Router
from anomaly.active.strategies import (
    Audited,
    Disagreement,
    Diverse,
    Random,
    Staged,
    Top,
    Uncertainty,
    UpperConfidence,
)
from anomaly.base import Detector, EventDetector, FeatureMatrix
from anomaly.commands.tuning import FinetuneCommand
from anomaly.detectors.classical import PyODDetector
from anomaly.detectors.columns import ColumnTails
from anomaly.detectors.core import CoreDetector
from anomaly.detectors.embedding import EmbeddingDetector
from anomaly.detectors.finetuned import FineTunedDetector
from anomaly.detectors.gaussian import GaussianDetector
from anomaly.detectors.labelled import LabelledForest
from anomaly.detectors.neural import NeuralDetector
from anomaly.detectors.ngram import NGramDetector
from anomaly.detectors.ownpast import OwnPastDetector
from anomaly.detectors.rarity import RarityDetector
from anomaly.detectors.repetition import RepetitionDetector
from anomaly.detectors.robust import IQRDetector, RobustZDetector
from anomaly.detectors.silence import SilenceDetector
from anomaly.detectors.trained import TrainedDetector
from anomaly.ensemble.combine import CorruptionMixture, FisherCombiner
from anomaly.ensemble.convex import ConvexCombiner
from anomaly.ensemble.pipeline import CalibratedEnsemble
from anomaly.ensemble.simple import (
    AgreementCombiner,
    BucketCombiner,
    CauchyCombiner,
    MeanRankCombiner,
    MinimumPCombiner,
    StoufferCombiner,
)
from anomaly.features.aggregates import SequenceAggregates
from anomaly.nn.encoders import CELLS
from anomaly.scores.calibration import ShortPasts, SplitConformal
from anomaly.sequences.corrupt import Scramble
from anomaly.sequences.rearrange import Insert, Shuffle
from anomaly.sequences.split import latest_per_entity
from anomaly.sequences.store import FIRST_VALUE, Field, SequenceStore


@dataclass(frozen=True)
class Case:
    """A class under contract.

    Attributes
    ----------
    name : of the test
    make : makes a fresh object from a seed
    longest : events of the longest sequence that the test of long input may use
    causal : whether an event's score may look at later events
    tolerance : relative difference that batches and threads may make
    kept : the rows given to `fit` whose scores `decision_scores_` holds; an ensemble keeps those it calibrated on
    """

    name: str
    make: Callable[[int], Any]
    longest: int = 100_000
    causal: bool = True
    tolerance: float = 1e-6
    kept: Callable[[Any], Any] = lambda X: X

    def __str__(self) -> str:
        return self.name


def _pyod(target: str, **options: Any) -> Callable[[int], PyODDetector]:
    return lambda seed: PyODDetector(detector={"_target_": target, **options}, random_state=seed)


def _neural(objective: str, cell: Any = "gru", kind: Any = NeuralDetector) -> Callable[[int], TrainedDetector]:
    tiny: dict[str, Any] = {"width": 16, "heads": 2, "mixture": 2, "max_epochs": 2, "longest": 32, "max_time": None}
    tiny |= {"objective": objective, "cell": cell, "latent": 8, "batch_tokens": 512, "accelerator": "cpu"}
    return lambda seed: kind(random_state=seed, **tiny)


def _fine_tuned(seed: int) -> FineTunedDetector:
    return FineTunedDetector(detector=_neural("next_event")(seed), random_state=seed)


def _ensemble(seed: int) -> CalibratedEnsemble:
    members = {
        "ngram": NGramDetector(random_state=seed),
        "robust_z": RobustZDetector(),
        "iforest": _pyod("pyod.models.iforest.IForest", n_estimators=10)(seed),
    }
    return CalibratedEnsemble(
        members=members,
        calibrator=SplitConformal(smallest_bucket=40),
        combiner=CorruptionMixture(),
        corruptions={"insert": Insert(), "shuffle": Shuffle(), "scramble": Scramble()},
        aggregates=SequenceAggregates(max_values=6, max_transitions=4),
        random_state=seed,
    )


def _core(seed: int) -> CoreDetector:
    members = {
        "iforest": _pyod("pyod.models.iforest.IForest", n_estimators=10)(seed),
        "ecod": PyODDetector(detector={"_target_": "pyod.models.ecod.ECOD"}, constants="keep"),
        "knn": PyODDetector(detector={"_target_": "pyod.models.knn.KNN"}, scaling="standard", constants="keep"),
    }
    return CoreDetector(members=members, on_core=("ecod", "knn"))


DETECTORS = [
    Case("ngram", lambda seed: NGramDetector(random_state=seed)),
    Case("ngram_order0", lambda seed: NGramDetector(max_order=0, statistic="order0.largest", random_state=seed)),
    Case("rarity", lambda seed: RarityDetector()),
    Case("repetition", lambda seed: RepetitionDetector()),
    Case("own_past", lambda seed: OwnPastDetector()),
    Case("silence", lambda seed: SilenceDetector()),
    Case("core", _core),
    Case("labelled_forest", lambda seed: LabelledForest(prior=_core(seed), trees=20, random_state=seed)),
    Case("column_tails", lambda seed: ColumnTails(random_state=seed)),
    Case("robust_z", lambda seed: RobustZDetector()),
    Case("iqr", lambda seed: IQRDetector()),
    Case("gaussian", lambda seed: GaussianDetector()),
    Case("iforest", _pyod("pyod.models.iforest.IForest", n_estimators=20)),
    Case("lof", _pyod("pyod.models.lof.LOF", n_neighbors=10), tolerance=1e-4),
    Case("knn", _pyod("pyod.models.knn.KNN"), tolerance=1e-4),
    Case("ecod", _pyod("pyod.models.ecod.ECOD")),
    Case("copod", _pyod("pyod.models.copod.COPOD")),
    Case("hbos", _pyod("pyod.models.hbos.HBOS")),
    Case("pca", _pyod("pyod.models.pca.PCA"), tolerance=1e-4),
    Case("sklearn_lof", _pyod("sklearn.neighbors.LocalOutlierFactor", n_neighbors=10), tolerance=1e-4),
    *(Case(f"next_event_{c}", _neural("next_event", c), longest=20_000, tolerance=1e-4) for c in CELLS),
    *(Case(f"autoencoder_{c}", _neural("autoencoder", c), longest=20_000, causal=False, tolerance=1e-4) for c in CELLS),
    Case("autoencoder_variational", _neural("variational"), longest=20_000, causal=False, tolerance=1e-4),
    Case("masked", _neural("masked", "transformer"), longest=20_000, causal=False, tolerance=1e-4),
    Case("contrastive", _neural("contrastive", kind=EmbeddingDetector), longest=20_000, tolerance=1e-3),
    Case("one_class", _neural("one_class", kind=EmbeddingDetector), longest=20_000, tolerance=1e-3),
    Case("fine_tuned", _fine_tuned, longest=20_000, tolerance=1e-4),
    Case("ensemble", _ensemble, kept=lambda X: X.take(latest_per_entity(X, 0.2)[1])),
]
CALIBRATORS = [
    Case("split_conformal", lambda seed: SplitConformal(smallest_bucket=40)),
    Case("short_pasts", lambda seed: ShortPasts(calibrator=SplitConformal(smallest_bucket=40))),
]
COMBINERS = [
    Case("corruption_mixture", lambda seed: CorruptionMixture()),
    Case("fisher", lambda seed: FisherCombiner()),
    Case("mean_rank", lambda seed: MeanRankCombiner()),
    Case("average", lambda seed: StoufferCombiner()),
    Case("cauchy", lambda seed: CauchyCombiner()),
    Case("minimum_p", lambda seed: MinimumPCombiner()),
    Case("maximum", lambda seed: BucketCombiner(rule="aom", buckets=1)),
    Case("aom", lambda seed: BucketCombiner(rule="aom", buckets=2, random_state=seed)),
    Case("moa", lambda seed: BucketCombiner(rule="moa", buckets=2, random_state=seed)),
    Case("agreement", lambda seed: AgreementCombiner()),
    Case("convex", lambda seed: ConvexCombiner()),
]

LEARNERS = [
    Case("residual_gp", lambda seed: ResidualGP(random_state=seed)),
    Case("aad", lambda seed: ActiveAnomalyDiscovery(random_state=seed)),
    Case("pine", lambda seed: PineForest(trees=200, kept=40, random_state=seed)),
    Case("weights", lambda seed: MemberWeights()),
    Case("pu_trees", lambda seed: PositiveUnlabelledTrees(rounds=20, random_state=seed)),
    Case("deep", lambda seed: BackgroundTuning(tuner=FinetuneCommand(run="none"), first=1000, random_state=seed)),
    Case("router", lambda seed: Router(learners=_routed(), first=10, crowd=50, random_state=seed)),
]
STRATEGIES = [
    Case("top", lambda seed: Top()),
    Case("upper_confidence", lambda seed: UpperConfidence()),
    Case("uncertainty", lambda seed: Uncertainty()),
    Case("disagreement", lambda seed: Disagreement()),
    Case("diverse", lambda seed: Diverse()),
    Case("staged", lambda seed: Staged()),
    Case("random", lambda seed: Random()),
    Case("audited", lambda seed: Audited(strategy=Top(), share=0.3)),
]


def _routed() -> dict[str, Any]:
    return {"residual_gp": ResidualGP(), "pu_trees": PositiveUnlabelledTrees(rounds=10)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    lists = {"detector": DETECTORS, "calibrator": CALIBRATORS, "combiner": COMBINERS}
    lists |= {"learner": LEARNERS, "strategy": STRATEGIES}
    if "listed" in metafunc.fixturenames:
        metafunc.parametrize(
            "listed", [{type(case.make(0)) for cases in lists.values() for case in cases}], ids=["all"]
        )
    for name, cases in lists.items():
        if f"{name}_case" in metafunc.fixturenames:
            metafunc.parametrize(f"{name}_case", cases, ids=str)
    if "event_case" in metafunc.fixturenames:
        events = [case for case in DETECTORS if isinstance(case.make(0), EventDetector)]
        metafunc.parametrize("event_case", events, ids=str)


def shop(n: int = 120, seed: int = 0, longest: int = 25) -> SequenceStore:
    """Return sequences of three coded fields, one number and gaps, of eight entities with habits of their own."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, n)
    entity = rng.integers(0, 9, n).astype(np.int32)
    t = int(lengths.sum())
    owner = np.repeat(entity, lengths)
    action = FIRST_VALUE + (rng.integers(0, 4, t) + rng.integers(0, 2, t) * owner) % 6
    item = FIRST_VALUE + (action * 2 + rng.integers(0, 3, t)) % 12
    hour = FIRST_VALUE + rng.integers(0, 24, t)
    fields = (
        Field("action", "categorical", FIRST_VALUE + 6),
        Field("item", "categorical", FIRST_VALUE + 12),
        Field("hour", "clock", FIRST_VALUE + 24),
    )
    codes, starts = np.stack([action, item, hour], 1), np.cumsum(lengths) - lengths
    delta = rng.exponential(60.0, t).astype(np.float32)
    delta[starts] = 0.0
    values = rng.normal(size=(t, 1)).astype(np.float32)
    store = SequenceStore.from_codes(codes, lengths, fields=fields, delta=delta, values=values, entity=entity)
    ids = pl.Series("sequence", [f"s{seed}-{k}" for k in range(n)])
    silence = rng.exponential(600.0, n).astype(np.float32)
    return replace(store, sequence_ids=ids, silence=silence, n_entities=9)


class Bench:
    """The data of one case: sequences, or the features that are made of them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.reads = case.make(0).reads
        self.train, self.test = self(shop()), self(shop(40, seed=1))
        self.kept = case.kept(self.train)

    def __call__(self, store: SequenceStore) -> SequenceStore | FeatureMatrix:
        """Return what the detector reads of these sequences."""
        return store if self.reads == "sequences" else _aggregates().transform(store)

    def take(self, X: SequenceStore | FeatureMatrix, rows: Any) -> SequenceStore | FeatureMatrix:
        """Return some rows of X."""
        if isinstance(X, SequenceStore):
            return X.take(np.asarray(rows))
        keys = None if X.keys is None else X.keys[rows]
        return FeatureMatrix(X.values[rows], X.names, keys)

    def fitted(self) -> Detector:
        """Return the detector fitted on `train`; shared, so never fit it again."""
        return _fitted(self.case)


@cache
def _aggregates() -> SequenceAggregates:
    return SequenceAggregates(max_values=6, max_transitions=4).fit(shop())


@cache
def _bench(case: Case) -> Bench:
    return Bench(case)


@cache
def _fitted(case: Case) -> Detector:
    detector: Detector = case.make(0).fit(_bench(case).train)
    return detector


@pytest.fixture
def bench(detector_case: Case) -> Bench:
    return _bench(detector_case)


@pytest.fixture
def event_bench(event_case: Case) -> Bench:
    return _bench(event_case)


@pytest.fixture(scope="session")
def make_shop() -> Callable[..., SequenceStore]:
    return shop
