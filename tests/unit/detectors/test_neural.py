"""The neural detector: finds what breaks order, scores in pieces and blocks as in one, resumes, stays finite."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly.detectors import neural, trained
from anomaly.detectors.neural import NeuralDetector
from anomaly.errors import AnomalyError
from anomaly.metrics.ranking import auroc
from anomaly.models import base
from anomaly.nn.encoders import CELLS
from anomaly.sequences.store import FIRST_VALUE, UNKNOWN, Field, SequenceStore

TINY: dict[str, Any] = {
    "width": 16,
    "layers": 1,
    "heads": 2,
    "mixture": 2,
    "max_epochs": 12,
    "patience": 4,
    "longest": 16,
    "dropout": 0.0,
    "learning_rate": 0.02,
    "batch_tokens": 256,
    "accelerator": "cpu",
    "max_time": None,
}
OBJECTIVES = {"autoencoder": "gru", "variational": "gru", "masked": "transformer"}
Detectors = dict[str, NeuralDetector]


def rings(n: int = 120, planted: int = 0, seed: int = 0, *, closed: bool = True) -> SequenceStore:
    """Return sequences that walk around a ring of six codes at a steady pace; the planted ones jump about."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 30, n)
    owner = np.repeat(np.arange(n), lengths)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    entity = (1 + np.arange(n) % 3).astype(np.int32)
    code = (position + np.repeat(rng.integers(0, 6, n), lengths)) % 6
    odd = owner >= n - planted
    code[odd] = rng.integers(0, 6, int(odd.sum()))
    hour = rng.integers(0, 24, len(owner))
    fields = (Field("page", "categorical", FIRST_VALUE + 6), Field("hour", "clock", FIRST_VALUE + 24))
    delta = rng.lognormal(3, 0.3, len(owner)).astype(np.float32)
    delta[position == 0] = 0.0
    codes = FIRST_VALUE + np.stack([code, hour], 1)
    store = SequenceStore.from_codes(codes, lengths, fields=fields, delta=delta, entity=entity, closed=closed)
    return replace(store, n_entities=4)


@pytest.fixture(scope="module")
def fitted() -> Detectors:
    return {
        cell: NeuralDetector(cell=cell, **(TINY | {"layers": 2 if cell == "tcn" else 1})).fit(rings()) for cell in CELLS
    }


@pytest.mark.parametrize("cell", CELLS)
def test_what_breaks_the_order_ranks_first(cell: str, fitted: Detectors) -> None:
    X = rings(100, planted=15, seed=1)
    assert auroc(np.arange(100) >= 85, fitted[cell].decision_function(X)) > 0.95
    owner = X.sequence_of_event()
    page = fitted[cell].score_fields(X)[:, fitted[cell].field_names.index("page")]
    assert page[owner >= 85].mean() > 2 * page[owner < 85].mean()


def test_a_strange_gap_is_found_where_it_is(fitted: Detectors) -> None:
    X = rings(30, seed=2)
    delta = X.delta.copy()
    hit = X.offsets[:-1] + 2
    delta[hit] = 20 * 3600
    gap = fitted["gru"].score_fields(replace(X, delta=delta))[:, -1]
    assert fitted["gru"].field_names == ("page", "hour", "end", "gap")
    others = np.ones(X.n_events, bool)
    others[hit] = False
    assert gap[hit].min() > np.quantile(gap[others], 0.99)
    assert (gap[X.offsets[:-1]] == 0).all()


@pytest.mark.parametrize("cell", CELLS)
def test_blocks_and_batches_are_one_pass(cell: str, fitted: Detectors, monkeypatch: Any) -> None:
    X = rings(40, seed=3)
    whole = fitted[cell].analyse(X)
    monkeypatch.setattr(neural, "EVENTS_AT_ONCE", 64)
    monkeypatch.setattr(trained, "SCORING_TOKENS", 48)
    parts = fitted[cell].analyse(X)
    assert parts.statistics.names == whole.statistics.names
    np.testing.assert_allclose(parts.statistics.values, whole.statistics.values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(parts.fields_TF, whole.fields_TF, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts.event_statistics.values, whole.event_statistics.values, rtol=1e-4, atol=1e-4)
    assert parts.embedding_ND is not None and whole.embedding_ND is not None
    np.testing.assert_allclose(parts.embedding_ND, whole.embedding_ND, rtol=1e-4, atol=1e-5)
    assert whole.embedding_ND.shape == (40, 16)
    np.testing.assert_allclose(fitted[cell].embed(X), whole.embedding_ND, rtol=1e-4, atol=1e-5)


def test_more_events_take_no_more_memory_beside_what_is_returned(fitted: Detectors, monkeypatch: Any) -> None:
    monkeypatch.setattr(neural, "EVENTS_AT_ONCE", 2000)

    def beside(X: SequenceStore) -> float:
        tracemalloc.start()
        found = fitted["gru"].analyse(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        arrays = (found.statistics.values, found.fields_TF, found.event_statistics.values, found.embedding_ND)
        return peak - sum(array.nbytes for array in arrays if array is not None)

    few = beside(rings(500))
    assert beside(rings(2000)) < 1.3 * few


def test_a_view_of_a_store_scores_as_a_copy(fitted: Detectors) -> None:
    X = rings(40, seed=3)
    expected = fitted["gru"].decision_function(X)
    np.testing.assert_allclose(fitted["gru"].decision_function(X.take(np.arange(10, 20))), expected[10:20], rtol=1e-4)


def test_events_score_alone_as_in_their_statistics(fitted: Detectors) -> None:
    X = rings(10, seed=4)
    found = fitted["gru"].event_statistics(X)
    fields = fitted["gru"].score_fields(X)
    for name in ("page", "hour", "end"):
        column = found.values[:, found.names.index(f"field.{name}")]
        np.testing.assert_allclose(column, fields[:, fitted["gru"].field_names.index(name)], rtol=1e-5)


def test_a_profile_tells_the_owner() -> None:
    X = rings(150, seed=5)
    page = FIRST_VALUE + (X.codes[:, 0] + np.repeat(X.entity, X.lengths) * 2) % 6
    page = np.where(
        np.random.default_rng(0).random(len(page)) < 0.8, FIRST_VALUE + np.repeat(X.entity, X.lengths), page
    )
    own = replace(X, codes=np.stack([page, X.codes[:, 1]], 1).astype(np.int32))
    detector = NeuralDetector(**TINY).fit(own)
    stolen = replace(own, entity=(own.entity % 3 + 1).astype(np.int32))
    found, taken = (detector.statistics(store) for store in (own, stolen))
    k = found.names.index("contrast")
    labels = np.repeat([0, 1], 150)
    assert auroc(labels, np.concatenate([found.values[:, k], taken.values[:, k]])) > 0.95


def test_a_workspace_resumes_and_two_seeds_are_two_models(tmp_path: Path) -> None:
    X = rings(60)
    short = TINY | {"max_epochs": 3}

    class Broken(Exception):
        pass

    def breaks(what: str, done: int, total: int) -> None:
        if done == total * 2 // 3 + 1:
            raise Broken

    with pytest.raises(Broken):
        NeuralDetector(**short).fit(X, workspace=tmp_path / "a", progress=breaks)
    resumed = NeuralDetector(**short).fit(X, workspace=tmp_path / "a")
    whole = NeuralDetector(**short).fit(X)
    np.testing.assert_array_equal(resumed.decision_scores_, whole.decision_scores_)
    assert resumed.curve_ == whole.curve_ and len(whole.curve_) == 3
    other = NeuralDetector(**short, random_state=1).fit(X)
    assert (other.decision_scores_ != whole.decision_scores_).any()
    assert not whole.stopped_by_time_


def test_held_out_sequences_may_be_named() -> None:
    X = rings(60)
    short = TINY | {"max_epochs": 2}
    found = NeuralDetector(**short).fit(X.take(np.arange(50)), held_out=X.take(np.arange(50, 60)))
    assert np.isfinite(found.decision_function(X)).all() and len(found.curve_) == 2
    assert not hasattr(found, "decision_scores_"), "the pass over all rows is left out"


@pytest.mark.parametrize("cell", CELLS)
def test_one_sequence_of_20000_events(cell: str, fitted: Detectors) -> None:
    X = rings(1, seed=6)
    places = np.arange(20_000) % X.n_events
    flat = {name: getattr(X, name)[places] for name in ("codes", "values", "delta", "time", "row")}
    long = replace(X, **flat, offsets=np.array([0, 20_000]))
    found = fitted[cell].analyse(long)
    assert np.isfinite(found.statistics.values).all() and np.isfinite(found.fields_TF).all()
    head = replace(long, **{n: v[:5000] for n, v in flat.items()}, offsets=np.array([0, 5000]))
    np.testing.assert_allclose(fitted[cell].score_fields(head), found.fields_TF[:5000], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_odd_input_stays_finite(cell: str, fitted: Detectors) -> None:
    X = rings(6, seed=7)
    holes = np.insert(X.lengths, [0, 3, 6], 0)
    rows = [0, 0, 1, 2, 3, 3, 4, 5, 5]
    odd = {
        "unknown": replace(X, codes=np.full_like(X.codes, UNKNOWN), entity=X.entity * 0),
        "no time": replace(X, delta=np.full_like(X.delta, np.nan), has_time=False),
        "huge gaps": replace(X, delta=X.delta + np.float32(1e30)),
        "no gaps": replace(X, delta=X.delta * 0),
        "single": X.keep_events(X.position() < 1),
        "holes": replace(
            X,
            offsets=np.concatenate([[0], np.cumsum(holes)]),
            entity=X.entity[rows],
            context=X.context[rows],
            sequence_ids=X.sequence_ids[rows],
            entity_ids=X.entity_ids[rows],
        ),
        "no events": X.keep_events(np.zeros(X.n_events, bool)),
        "none": X.take(np.zeros(0, np.int64)),
    }
    names = fitted[cell].statistics(X).names
    for name, store in odd.items():
        found = fitted[cell].analyse(store)
        assert found.statistics.names == names, name
        assert len(found.statistics.values) == len(store) and len(found.fields_TF) == store.n_events
        assert np.isfinite(found.statistics.values).all(), name
        assert np.isfinite(found.fields_TF).all(), name
        assert np.isfinite(found.event_statistics.values).all(), name


def test_columns_of_odd_kinds_are_learnt_or_refused_in_one_line() -> None:
    X = rings(30)
    one_code = replace(X, codes=np.full_like(X.codes, 4))
    clock_only = replace(X, fields=X.fields[1:], codes=X.codes[:, 1:], closed=False)
    timeless = replace(X, delta=np.full_like(X.delta, np.nan), has_time=False)
    crowd = replace(X, n_entities=1, entity=X.entity * 0)
    short = TINY | {"max_epochs": 1}
    for name, store in {"one": one_code, "clock": clock_only, "timeless": timeless, "crowd": crowd}.items():
        found = NeuralDetector(**short).fit(store)
        assert np.isfinite(found.decision_scores_).all(), name
        assert np.isfinite(found.event_statistics(store).values).all(), name
    no_fields = replace(X, fields=(), codes=X.codes[:, :0])
    no_events = X.keep_events(np.zeros(X.n_events, bool))
    for store in (no_fields, no_events, X.take([0]), X.take(np.zeros(0, np.int64))):
        with pytest.raises(AnomalyError) as error:
            NeuralDetector(**short).fit(store)
        assert len(str(error.value).splitlines()) == 1


def test_sequences_of_one_event_are_learnt() -> None:
    X = rings(60).keep_events(rings(60).position() < 1)
    found = NeuralDetector(**(TINY | {"max_epochs": 1})).fit(X)
    assert np.isfinite(found.decision_scores_).all()


def test_an_epoch_has_about_sixty_batches() -> None:
    detector = NeuralDetector()
    sizes = {1_000: 128, 120_000: 2_000, 10**8: 16_384}
    for events, expected in sizes.items():
        store: Any = type("Sized", (), {"n_events": events})()
        assert detector._tokens(store) == expected
    assert NeuralDetector(batch_tokens=77)._tokens(rings(1)) == 77


@pytest.mark.parametrize("closed", [True, False])
def test_ends_are_scored_where_they_mean_something(closed: bool) -> None:
    X = rings(60, closed=closed)
    found = NeuralDetector(**(TINY | {"max_epochs": 1})).fit(X)
    assert ("end" in found.field_names) == closed
    assert ("length" in found.statistics(X).names) == closed


def themes(n: int, planted: int = 0, seed: int = 0) -> SequenceStore:
    """Return sequences that keep to two of eight codes each; the planted ones take any."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 20, n)
    owner = np.repeat(np.arange(n), lengths)
    code = 2 * np.repeat(rng.integers(0, 4, n), lengths) + rng.integers(0, 2, len(owner))
    odd = owner >= n - planted
    code[odd] = rng.integers(0, 8, int(odd.sum()))
    return SequenceStore.from_codes(FIRST_VALUE + code, lengths)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_reconstruction_finds_what_fits_no_pattern(objective: str) -> None:
    options = TINY | {"cell": OBJECTIVES[objective], "longest": 32, "latent": 8}
    found = NeuralDetector(objective=objective, **options).fit(themes(200))
    X = themes(100, planted=15, seed=1)
    assert auroc(np.arange(100) >= 85, found.decision_function(X)) > 0.9
    assert found.embed(X).shape == (100, 16 if objective == "masked" else 8)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_pieces_go_on_where_the_last_one_ended(cell: str, fitted: Detectors, monkeypatch: Any) -> None:
    X = rings(30, seed=8)
    whole = fitted[cell].analyse(X)
    monkeypatch.setattr(base, "CHUNK", 7)
    parts = fitted[cell].analyse(X)
    np.testing.assert_allclose(parts.statistics.values, whole.statistics.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parts.fields_TF, whole.fields_TF, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parts.embedding_ND, whole.embedding_ND, rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_80000_events_are_trained_on_and_scored_in_bounded_memory(cell: str) -> None:
    import resource

    X = rings(3000, seed=9)
    places = np.arange(160_000) % X.n_events
    flat = {name: getattr(X, name)[places] for name in ("codes", "values", "delta", "time", "row")}
    two = replace(X.take([0, 1]), **flat, offsets=np.array([0, 80_000, 160_000]))
    options = TINY | {"max_epochs": 1, "batch_tokens": 8192, "longest": 128, "width": 32, "layers": 1}
    detector = NeuralDetector(cell=cell, **options)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    detector.fit(two.take([0]), held_out=rings(20))
    found = detector.analyse(two)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert np.isfinite(found.statistics.values).all() and len(found.fields_TF) == 160_000
    # A state per event and layer alone would be 2 x 160,000 x 32 x 4 bytes; the residuals themselves are 30 MB.
    assert grown < 400, f"{grown:.0f} MB"


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_past_is_read_and_not_judged(cell: str, fitted: Detectors) -> None:
    X = rings(40, planted=5, seed=6)
    context = np.minimum(np.arange(40) % 9, X.lengths)
    whole, part = fitted[cell].analyse(X), fitted[cell].analyse(replace(X, context=context))
    kept = X.position() >= np.repeat(context, X.lengths)
    assert whole.event_statistics is not None
    assert part.event_statistics is not None
    np.testing.assert_allclose(part.fields_TF[kept], whole.fields_TF[kept], atol=1e-5)
    np.testing.assert_allclose(part.event_statistics.values[kept], whole.event_statistics.values[kept], atol=1e-5)
    assert not part.fields_TF[~kept].any()
    same = np.flatnonzero(context == 0)
    np.testing.assert_allclose(part.statistics.values[same], whole.statistics.values[same], atol=1e-4)
    assert np.isfinite(part.statistics.values).all()
