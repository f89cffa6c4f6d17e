"""The n-gram counts what it should, leaves out what it should, and sees what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.detectors.contexts import Chain, choose_parts
from anomaly.detectors.counts import ConditionalCounts, Own, group
from anomaly.detectors.dictionary import Dictionary, hash_columns
from anomaly.detectors.ngram import NGramDetector
from anomaly.errors import ConfigError, DataError
from anomaly.metrics import auroc
from anomaly.sequences.store import Field, SequenceStore


def column(found: object, name: str) -> np.ndarray:  # type: ignore[type-arg]
    return found.values[:, found.names.index(name)]  # type: ignore[attr-defined,no-any-return]


def test_hash_tells_the_order_of_columns_apart() -> None:
    a, b = (g.ravel() for g in np.meshgrid(np.arange(200), np.arange(200)))
    assert len(np.unique(hash_columns(a, b))) == 40_000
    assert len(np.unique(hash_columns(a, hash_columns(b)))) == 40_000


def test_a_code_that_the_field_does_not_have_is_not_its_end() -> None:
    X = SequenceStore.from_codes(np.tile([3, 4, 5, 6], 30), np.full(30, 4))
    detector = NGramDetector().fit(X)
    for code in (7, 8, 99):
        odd = SequenceStore.from_codes(np.array([3, 4, 5, 6, code]), np.array([5]))
        assert detector.score_fields(odd)[-1, 0] > 5


@settings(deadline=None, max_examples=30)
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_leaving_out_equals_counting_without(pairs: list[tuple[int, int, int]]) -> None:
    context, value, sequence = (np.array(c) for c in zip(*pairs, strict=True))
    weight = 1.0 / (1.0 + value)
    table = ConditionalCounts.of(context, 4, value, 4, weight)
    found = table.look_up(context, value, Own(np.arange(len(value)), sequence, weight))
    for row in range(len(value)):
        rest = sequence != sequence[row]
        plain = ConditionalCounts.of(context[rest], 4, value[rest], 4, weight[rest])
        expected = plain.look_up(context[row : row + 1], value[row : row + 1])
        for left, right in zip(found, expected, strict=True):
            assert left[row] == pytest.approx(right[0], abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(
    keys=st.lists(st.integers(0, 10**12), max_size=40),
    more=st.lists(st.integers(0, 10**12), max_size=10),
    copies=st.sampled_from([1, 3, 200]),
)
def test_every_way_of_looking_up_finds_the_same(keys: list[int], more: list[int], copies: int) -> None:
    for span in (10**12 + 1, 50):
        known = np.array(keys, np.int64) % span
        queries = np.tile(np.concatenate([known, np.array(more, np.int64) % span]), copies)
        dictionary = Dictionary.of(known, span)
        place = dictionary.places(queries)
        there = np.isin(queries, known)
        np.testing.assert_array_equal(place[~there], len(dictionary))
        np.testing.assert_array_equal(dictionary.keys[place[there]], queries[there])


def test_groups_with_labels_that_fill_all_bits() -> None:
    sequence, label = np.array([0, 0, 1, 1, 0]), np.array([2**61, 5, 2**61, 5, 2**61])
    np.testing.assert_array_equal(group(sequence, label, 2**61 + 1).sums(), [2, 1, 1, 1, 2])
    np.testing.assert_array_equal(group(sequence, label % 7, 7).sums(), [2, 1, 1, 1, 2])


def test_probabilities_sum_to_one() -> None:
    X = SequenceStore.from_codes([3, 4, 3, 4, 5, 3, 4, 4], [5, 3])
    detector = NGramDetector(leave_out=False).fit(X)
    # Every code after a 4, and the end, which is what the detector knows as one code more.
    codes = np.stack([np.full(7, 4), np.arange(7)], 1).ravel()
    trial = SequenceStore.from_codes(codes, np.full(7, 2), fields=X.fields)
    p = np.exp(-detector.score_fields(trial)[1::2, 0])
    rows = Chain.of(X, 0, [(0, 1)], ends=True).rows(X)
    np.testing.assert_array_equal(rows.value[-2:], [6, 6])
    np.testing.assert_array_equal(rows.contexts[1][-2:], [5, 4])
    assert 0.5 < p.sum() < 1.0


def test_the_end_is_surprising_where_it_means_something() -> None:
    closed = SequenceStore.from_codes(np.tile([3, 4, 5], 50), np.full(50, 3))
    short = SequenceStore.from_codes([3, 4, 5, 3, 4], [3, 2], fields=closed.fields)
    whole, cut = column(NGramDetector().fit(closed).statistics(short), "order1.largest")
    assert cut > whole + 2
    as_open = replace(closed, closed=False)
    whole, cut = column(NGramDetector().fit(as_open).statistics(replace(short, closed=False)), "order1.largest")
    assert cut == pytest.approx(whole, abs=0.1)


def test_a_sequence_of_fit_is_scored_as_new() -> None:
    codes = np.concatenate([np.tile([3, 4, 5], 40), [3, 5, 4]])
    X = SequenceStore.from_codes(codes, np.full(41, 3), fields=[Field("a", "categorical", 6)])
    as_new = NGramDetector(max_order=1).fit(X.take(np.arange(40))).statistics(X.take([40]))
    left_out = NGramDetector(max_order=1).fit(X).statistics(X.take([40]))
    np.testing.assert_allclose(left_out.values, as_new.values, rtol=1e-9)
    kept = NGramDetector(max_order=1, leave_out=False).fit(X).statistics(X.take([40]))
    assert column(kept, "order1.largest") < column(left_out, "order1.largest")


def test_contexts_are_chosen_by_likelihood() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(3, 8, 4000), rng.integers(3, 8, 4000)
    c = 3 + (a + 2 * b) % 5
    X = SequenceStore.from_codes(np.stack([a, b, c], 1), np.full(400, 10))
    assert choose_parts(X, [0, 1, 2], order=2, seed=0) == [[(0, 1)], [(0, 0)], [(0, 0), (1, 0)]]
    assert choose_parts(X, [0, 1, 2], order=0, seed=0) == [[], [], []]
    one = SequenceStore.from_codes(np.tile([3, 4, 5, 4], 500), [2000])
    assert choose_parts(one, [0], order=2, seed=0, sample=800) == [[(0, 1), (0, 2)]]


def test_a_wrong_attribute_is_seen() -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(3, 9, 3000)
    b = 3 + (a + rng.integers(0, 2, 3000)) % 6
    y = np.zeros(300)
    y[:15] = 1
    b[np.arange(15) * 10 + 4] = 3 + (a[np.arange(15) * 10 + 4] + 3) % 6
    X = SequenceStore.from_codes(np.stack([a, b], 1), np.full(300, 10))
    assert auroc(y, NGramDetector().fit(X).decision_scores_) > 0.99


def takeover() -> tuple[SequenceStore, SequenceStore, np.ndarray]:  # type: ignore[type-arg]
    """Return what five users do, and new sequences of which every fifth is another user's."""
    rng = np.random.default_rng(2)
    owner = np.repeat(np.arange(100) % 5, 20)
    codes = 3 + (4 * owner + rng.integers(0, 6, 2000)) % 20
    train = SequenceStore.from_codes(codes, np.full(100, 20), entity=np.arange(100) % 5 + 1)
    y = (np.arange(50) % 5 == 0).astype(float)
    actor = (np.arange(50) // 5 + y.astype(int)) % 5
    codes = 3 + (4 * np.repeat(actor, 20) + rng.integers(0, 6, 1000)) % 20
    test = SequenceStore.from_codes(codes, np.full(50, 20), entity=np.arange(50) // 5 % 5 + 1, fields=train.fields)
    return train, test, y


def test_contrast_sees_a_takeover() -> None:
    train, test, y = takeover()
    detector = NGramDetector(statistic="contrast.order0").fit(train)
    assert auroc(y, detector.decision_function(test)) > 0.99
    assert auroc(y, column(detector.statistics(test), "contrast.order1")) > 0.95
    assert auroc(y, column(detector.statistics(test), "order1.mean")) < 0.9


def test_contrast_is_zero_without_a_profile() -> None:
    train, test, _ = takeover()
    detector = NGramDetector().fit(train)
    stranger = detector.statistics(replace(test, entity=test.entity * 0))
    np.testing.assert_array_equal(column(stranger, "contrast.order0"), 0)
    once = replace(train, entity=np.arange(1, 101, dtype=np.int32))
    np.testing.assert_array_equal(column(NGramDetector().fit(once).statistics(once), "contrast.order0"), 0)


def test_contrast_is_absent_without_entities() -> None:
    train, test, _ = takeover()
    nobody = replace(train, entity=train.entity * 0)
    detector = NGramDetector().fit(nobody)
    assert not [n for n in detector.statistics(test).names if "contrast" in n]


def test_event_contrast_marks_the_foreign_events() -> None:
    train, test, y = takeover()
    found = NGramDetector().fit(train).event_statistics(test)
    per_sequence = column(found, "contrast.order0").reshape(50, 20).mean(1)
    assert auroc(y, per_sequence) > 0.99


def test_blocks_change_nothing() -> None:
    train, test, _ = takeover()
    whole = NGramDetector().fit(train).analyse(test)
    pieces = NGramDetector(block_events=70).fit(train).analyse(test)
    np.testing.assert_allclose(pieces.statistics.values, whole.statistics.values)
    np.testing.assert_array_equal(pieces.fields_TF, whole.fields_TF)


def test_numeric_fields_are_read_where_there_are_no_others() -> None:
    fields = [Field("amount", "numeric", 8)]
    X = SequenceStore.from_codes(np.tile([3, 4, 5], 20), np.full(20, 3), fields=fields)
    assert NGramDetector().fit(X).field_names == ("amount",)


def test_errors_say_what_to_do() -> None:
    X = SequenceStore.from_codes([3, 4], [2])
    with pytest.raises(ConfigError, match=r"order1\.largest"):
        NGramDetector(statistic="nonsense").fit(X)
    with pytest.raises(ConfigError, match="max_order"):
        NGramDetector(max_order=-1).fit(X)
    with pytest.raises(DataError, match="at least one"):
        NGramDetector().fit(X.take(np.zeros(0, np.int64)))
