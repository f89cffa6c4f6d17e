"""Corruptions damage what they say they damage, and leave a store a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.sequences import corrupt, rearrange
from anomaly.sequences.corrupt import Corrupted, Corruption
from anomaly.sequences.store import FIRST_VALUE, Field, SequenceStore

KINDS: dict[str, Callable[[], Corruption]] = {
    "insert": rearrange.Insert,
    "skip": rearrange.Skip,
    "repeat": rearrange.Repeat,
    "shuffle": rearrange.Shuffle,
    "move": rearrange.Move,
    "truncate": rearrange.Truncate,
    "splice": rearrange.Splice,
    "random_events": rearrange.RandomEvents,
    "scramble": corrupt.Scramble,
    "extreme": corrupt.Extreme,
    "hand_over": corrupt.HandOver,
    "clockwork": lambda: corrupt.Pace(how="clockwork"),
    "burst": lambda: corrupt.Pace(how="burst"),
    "silence": lambda: corrupt.Pace(how="silence"),
    "leave": corrupt.Leave,
}
PACE = {"clockwork", "burst", "silence"}
LENGTH_KEPT = {"shuffle", "move", "random_events", "scramble", "extreme", "hand_over", "leave"} | PACE
ORDER_ONLY = {"shuffle", "move"}


def store_of(
    lengths: list[int] | np.ndarray[Any, Any], seed: int = 0, *, closed: bool = True, timed: bool = True
) -> SequenceStore:
    """Return sequences whose first field names each event of the store uniquely."""
    rng = np.random.default_rng(seed)
    t, n = int(np.sum(lengths)), len(lengths)
    codes = np.stack([FIRST_VALUE + np.arange(t), FIRST_VALUE + rng.integers(0, 5, t)], 1)
    delta = rng.exponential(30.0, t).astype(np.float32) + np.float32(0.5)
    starts = np.cumsum(lengths) - lengths
    delta[starts[np.asarray(lengths) > 0]] = 0.0
    fields = (Field("place", "categorical", FIRST_VALUE + t), Field("value0", "numeric", FIRST_VALUE + 5))
    made = SequenceStore.from_codes(
        codes,
        lengths,
        fields=fields,
        delta=delta if timed else None,
        values=codes[:, 1:].astype(np.float32),
        entity=1 + np.arange(n, dtype=np.int32) % 4,
        closed=closed,
    )
    ids = pl.Series("sequence", [f"s{k}" for k in range(n)])
    return replace(made, sequence_ids=ids, silence=np.full(n, 60, np.float32) if timed else None, n_entities=5)


@pytest.fixture(params=list(KINDS))
def kind(request: Any) -> str:
    return str(request.param)


def damage(kind: str, store: SequenceStore, seed: int = 0) -> Corrupted:
    return KINDS[kind]().corrupt(store, np.random.default_rng(seed))


def places(store: SequenceStore) -> np.ndarray[Any, Any]:
    return store.codes[:, 0] - FIRST_VALUE


def content(store: SequenceStore) -> np.ndarray[Any, Any]:
    """Return (N, 2) what a sequence holds, and the silence after it."""
    silence = np.zeros(len(store)) if store.silence is None else store.silence
    return np.column_stack([store.keys(), silence.astype(np.uint64)])


def by_id(found: Corrupted) -> dict[str, slice]:
    bounds = zip(found.store.offsets, found.store.offsets[1:], strict=False)
    return dict(zip(found.store.sequence_ids, (slice(a, b) for a, b in bounds), strict=True))


def assert_is_a_store(found: Corrupted) -> None:
    store = found.store
    t, n = store.n_events, len(store)
    assert store.offsets[0] == 0 and store.offsets[-1] == t and (store.lengths >= 0).all()
    for name in ("codes", "values", "delta", "time", "row"):
        assert len(getattr(store, name)) == t, name
    for name in ("entity", "context", "sequence_ids", "entity_ids"):
        assert len(getattr(store, name)) == n, name
    assert found.touched.shape == (t,) and found.touched.dtype == bool
    assert (store.codes < np.array(store.sizes)).all() and (store.codes >= 0).all()
    assert store.codes.dtype == np.int32 and store.values.dtype == store.delta.dtype == np.float32
    assert (store.context == 0).all()
    assert np.isfinite(store.values).all()
    if store.has_time:
        assert np.isfinite(store.delta).all() and (store.delta >= 0).all()
        assert (store.delta[store.offsets[:-1][store.lengths > 0]] == 0).all()
    else:
        assert np.isnan(store.delta).all()


ragged = st.lists(st.integers(0, 25), min_size=2, max_size=10)


@settings(deadline=None, max_examples=30)
@given(lengths=ragged, seed=st.integers(0, 999), closed=st.booleans(), timed=st.booleans())
def test_a_store_comes_out_whatever_goes_in(lengths: list[int], seed: int, closed: bool, timed: bool) -> None:
    store = store_of(lengths, seed, closed=closed, timed=timed)
    for name in KINDS:
        if not KINDS[name]().applies(store):
            continue
        found = damage(name, store, seed)
        assert_is_a_store(found)
        assert set(found.store.sequence_ids) <= set(store.sequence_ids)
        assert found.store.sequence_ids.n_unique() == len(found.store)
        if not closed and len(found.store):
            sizes = dict(zip(store.sequence_ids, store.lengths, strict=True))
            assert all(
                length <= sizes[key] for key, length in zip(found.store.sequence_ids, found.store.lengths, strict=True)
            )


def test_the_same_draws_make_the_same_damage(kind: str) -> None:
    store = store_of(np.random.default_rng(1).integers(4, 20, 30))
    first, second, other = damage(kind, store, 3), damage(kind, store, 3), damage(kind, store, 4)
    np.testing.assert_array_equal(content(first.store), content(second.store))
    np.testing.assert_array_equal(first.touched, second.touched)
    assert (
        first.store.lengths.sum() != other.store.lengths.sum() or (content(first.store) != content(other.store)).any()
    )


def test_the_input_is_left_alone(kind: str) -> None:
    store = store_of([5, 9, 4, 7, 12, 3])
    before = [np.array(getattr(store, name)) for name in ("codes", "values", "delta", "time", "entity", "offsets")]
    damage(kind, store)
    after = [getattr(store, name) for name in ("codes", "values", "delta", "time", "entity", "offsets")]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def of(found: Corrupted, store: SequenceStore) -> SequenceStore:
    """Return the sequences that were damaged as they were; a draw of what was there already leaves one out."""
    return store.take(np.isin(store.sequence_ids.to_numpy(), found.store.sequence_ids.to_numpy()))


def test_every_sequence_is_damaged_and_marked(kind: str) -> None:
    whole = store_of(np.random.default_rng(2).integers(5, 30, 60))
    found = damage(kind, whole)
    store = of(found, whole)
    assert len(store) == len(whole) if kind != "scramble" else len(store) > 0.75 * len(whole)
    assert list(found.store.sequence_ids) == list(store.sequence_ids)
    marked = np.add.reduceat(found.touched.astype(int), found.store.offsets[:-1])
    assert (marked > 0).all()
    changed = (content(found.store) != content(store)).any(axis=1)
    # A permutation of three, or a draw of an event itself, may by chance change nothing.
    assert changed.mean() > (0.75 if kind in {"shuffle", "scramble", "random_events", "extreme"} else 0.95)
    kept = kind in LENGTH_KEPT
    assert (found.store.lengths == store.lengths).all() == kept
    others = kind == "hand_over"
    assert (found.store.entity != store.entity).all() == others
    assert (found.store.entity == store.entity).all() != others
    assert (found.store.entity > 0).all()


def test_what_is_not_marked_is_untouched(kind: str) -> None:
    store = store_of(np.random.default_rng(3).integers(5, 30, 40))
    found = damage(kind, store, 1)
    origin = store.sequence_of_event()
    kept = np.flatnonzero(np.isin(store.sequence_ids.to_numpy(), found.store.sequence_ids.to_numpy()))
    own = np.repeat(kept, found.store.lengths)
    clean = ~found.touched
    np.testing.assert_array_equal(origin[places(found.store)[clean]], own[clean], "foreign events are marked")
    store = of(found, store)
    if kind in {"scramble", "extreme"}:
        np.testing.assert_array_equal(found.store.codes[clean], store.codes[clean])
        np.testing.assert_array_equal(found.store.values[clean], store.values[clean])
    if kind in {"clockwork", "burst", "silence"}:
        np.testing.assert_array_equal(found.store.delta[clean], store.delta[clean])
        np.testing.assert_array_equal(found.store.codes, store.codes)


def test_events_that_are_only_moved_are_all_there() -> None:
    store = store_of(np.random.default_rng(4).integers(5, 30, 40))
    for name in ORDER_ONLY:
        found = damage(name, store)
        for n in range(len(store)):
            here = slice(store.offsets[n], store.offsets[n + 1])
            assert sorted(places(found.store)[here]) == list(range(store.offsets[n], store.offsets[n + 1])), name


def test_what_each_kind_leaves_behind() -> None:
    store = store_of(np.random.default_rng(5).integers(6, 30, 50))
    origin = store.sequence_of_event()
    for name in ("insert", "repeat", "skip", "truncate", "splice"):
        found = damage(name, store)
        own = found.store.sequence_of_event()
        from_T = origin[places(found.store)]
        for n in range(len(store)):
            mine = own == n
            seen = places(found.store)[mine]
            whole = np.arange(store.offsets[n], store.offsets[n + 1])
            marked = found.touched[mine]
            if name == "insert":
                np.testing.assert_array_equal(seen[~marked], whole)
                assert (from_T[mine][marked] != n).all()
            if name == "repeat":
                np.testing.assert_array_equal(seen[~marked], whole)
                assert set(seen[marked]) <= set(whole)
            if name == "skip":
                assert set(seen) < set(whole) and (np.diff(seen) > 0).all() and marked.sum() == 1
                gap = np.flatnonzero(np.diff(seen, prepend=whole[0] - 1) > 1)
                assert len(gap) == 0 or marked[gap[0]]
            if name == "truncate":
                np.testing.assert_array_equal(seen, whole[: len(seen)])
                assert len(seen) < len(whole) and marked[-1] and marked.sum() == 1
            if name == "splice":
                cut = int(np.flatnonzero(marked)[0])
                np.testing.assert_array_equal(seen[:cut], whole[:cut])
                assert marked[cut:].all() and len(set(from_T[mine][cut:])) == 1 and from_T[mine][-1] != n


@pytest.mark.parametrize("name", ["insert", "repeat"])
def test_where_ends_are_open_no_length_gives_the_damage_away(name: str) -> None:
    store = store_of(np.full(40, 12), closed=False)
    found = damage(name, store)
    np.testing.assert_array_equal(found.store.lengths, store.lengths)
    assert (np.add.reduceat(found.touched.astype(int), found.store.offsets[:-1]) > 0).all()
    assert not KINDS["truncate"]().applies(store)


def test_paces_are_what_they_are_called() -> None:
    store = store_of(np.full(30, 20))
    marked = {how: damage(how, store) for how in ("clockwork", "burst", "silence")}
    before = store.delta
    burst, silence = marked["burst"], marked["silence"]
    np.testing.assert_allclose(burst.store.delta[burst.touched], before[burst.touched] / 20, rtol=1e-5)
    assert (silence.store.delta[silence.touched] > 15 * before[silence.touched]).all()
    assert (np.add.reduceat(silence.touched.astype(int), store.offsets[:-1]) == 1).all()
    clockwork = marked["clockwork"]
    owner = store.sequence_of_event()
    for n in range(30):
        assert len(np.unique(clockwork.store.delta[clockwork.touched & (owner == n)])) == 1


def test_an_event_from_a_start_gets_a_gap_where_it_lands() -> None:
    store = store_of([6] * 40)
    for name in ("move", "insert", "splice", "repeat", "random_events"):
        found = damage(name, store).store
        inner = np.ones(found.n_events, bool)
        inner[found.offsets[:-1]] = False
        assert (found.delta[inner] > 0).all(), name


def test_kinds_apply_where_they_can_exist() -> None:
    plain = store_of([5, 6])
    assert all(make().applies(plain) for make in KINDS.values())
    single = store_of([1] * 6)
    assert not KINDS["insert"]().applies(single)
    assert KINDS["scramble"]().applies(single)
    timeless = store_of([5, 6], timed=False)
    assert not any(KINDS[name]().applies(timeless) for name in ("clockwork", "burst", "silence"))
    assert not KINDS["hand_over"]().applies(replace(plain, n_entities=2))
    assert not KINDS["insert"]().applies(store_of([9]))
    one_field = replace(timeless, fields=plain.fields[:1], codes=plain.codes[:, :1])
    assert not KINDS["scramble"]().applies(one_field)


def test_entities_that_are_unknown_are_not_handed_over() -> None:
    store = replace(store_of([5, 6, 7]), entity=np.array([0, 2, 0], np.int32))
    found = damage("hand_over", store)
    assert list(found.store.sequence_ids) == ["s1"]
    assert found.store.entity[0] not in (0, 2)
    assert len(damage("hand_over", replace(store, entity=np.zeros(3, np.int32))).store) == 0


def test_numeric_values_follow_their_codes() -> None:
    store = store_of(np.full(30, 10))
    found = damage("scramble", store).store
    np.testing.assert_array_equal(found.values[:, 0], found.codes[:, 1])


@pytest.mark.parametrize(
    ("field", "timed"), [("place", True), ("value0", True), ("gap", True), ("place", False), ("value0", False)]
)
def test_a_variant_changes_its_field_alone_and_marks_what_changed(field: str, timed: bool) -> None:
    store = store_of(np.full(30, 10), timed=timed)
    variants = corrupt.Scramble().variants(store)
    assert list(variants) == ["place", "value0", *(["gap"] if timed else [])]
    found = variants[field].corrupt(store, np.random.default_rng(0))
    before = of(found, store)
    changed = {
        "place": found.store.codes[:, 0] != before.codes[:, 0],
        "value0": found.store.codes[:, 1] != before.codes[:, 1],
        "gap": timed & (found.store.delta != before.delta),
    }
    np.testing.assert_array_equal(changed.pop(field), found.touched)
    assert not any(other.any() for other in changed.values())
    assert (np.add.reduceat(found.touched.astype(int), found.store.offsets[:-1]) > 0).all()
    assert list(variants[field].variants(store)) == [""]


def test_an_extreme_number_is_one_of_the_largest() -> None:
    store = store_of(np.random.default_rng(6).integers(5, 30, 40))
    found = damage("extreme", store)
    largest = store.values[:, 0].max()
    assert (found.store.values[found.touched, 0] == largest).all()
    assert (found.store.codes[found.touched, 1] == store.codes[:, 1].max()).all()
    np.testing.assert_array_equal(found.store.codes[:, 0], store.codes[:, 0])
    no_numbers = replace(store, fields=(store.fields[0], replace(store.fields[1], kind="categorical")))
    assert not KINDS["extreme"]().applies(no_numbers)


def test_single_events_are_damaged_by_what_is_not_theirs_alone() -> None:
    made_for_events = {name for name, make in KINDS.items() if "event" in make().units}
    assert made_for_events == {"insert", "splice", "random_events", "scramble", "extreme", "hand_over"}


def test_a_first_event_that_is_moved_takes_the_median_gap_although_some_are_unknown() -> None:
    store = SequenceStore.from_codes(np.arange(6) + 3, [3, 3], delta=np.zeros(6, np.float32))
    store = replace(store, delta=np.array([0, 2, np.nan, 0, 4, 6], np.float32))
    moved = rearrange.gather(store, np.array([3, 1, 0]), np.array([0]), np.array([3]))
    assert moved.delta.tolist() == [0, 2, 2]
    unknown = replace(store, delta=np.full(6, np.nan, np.float32))
    assert len(rearrange.gather(unknown, np.array([3, 1, 0]), np.array([0]), np.array([3])).delta) == 3
