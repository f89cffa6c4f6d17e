import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.events.vocabulary import FIRST_VALUE, RARE, UNKNOWN, Vocabulary, canonical


def fit(values: list[object], **kwargs: int) -> Vocabulary:
    counts = pl.Series("v", values, strict=False).value_counts(name="count")
    return Vocabulary(**kwargs).fit(counts["v"], counts["count"])


def test_codes_by_frequency() -> None:
    vocabulary = fit(["a", "b", "b", "c", "c", "c", None], max_size=2)
    codes = vocabulary.transform(pl.Series(["c", "b", "a", "never", None]))
    assert codes.tolist() == [FIRST_VALUE, FIRST_VALUE + 1, RARE, UNKNOWN, vocabulary.missing_]
    assert vocabulary.size == 6
    assert vocabulary.counts_.tolist() == [0, 0, 1, 3, 2, 1]
    assert vocabulary.decode(codes).to_list() == ["c", "b", None, None, None]


def test_missing_is_unknown_where_fit_saw_none() -> None:
    assert fit(["a"]).transform(pl.Series([None, "a"])).tolist() == [UNKNOWN, FIRST_VALUE]


def test_min_count_makes_values_rare() -> None:
    assert fit(["a", "a", "b"], min_count=2).transform(pl.Series(["a", "b"])).tolist() == [FIRST_VALUE, RARE]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int64, pl.UInt16, pl.Float64, pl.String, pl.UInt64])
def test_equal_values_of_other_types_meet(dtype: type[pl.DataType]) -> None:
    for values in ([5, 7, 7], ["5", "7", "7"]):
        codes = fit(list(values)).transform(pl.Series([7, 5, 9], dtype=pl.Int64).cast(dtype))
        assert codes.tolist() == [FIRST_VALUE, FIRST_VALUE + 1, UNKNOWN]


@pytest.mark.parametrize("values", [[True, False, None], [1.5, 2.0], [b"x"], []])
def test_canonical_takes_any_type(values: list[object]) -> None:
    assert canonical(pl.Series(values)).dtype in (pl.String, pl.Int64)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-(2**62), 2**62), min_size=1), st.lists(st.integers(-(2**62), 2**62)))
def test_integers_far_apart(seen: list[int], more: list[int]) -> None:
    vocabulary = fit(list(seen))
    codes = vocabulary.transform(pl.Series(seen + more, dtype=pl.Int64))
    expected = [v in seen for v in seen + more]
    assert (codes >= FIRST_VALUE).tolist() == expected
    assert len(np.unique(codes[: len(seen)])) == len(set(seen))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.none(), st.text())))
def test_any_text(values: list[str | None]) -> None:
    column = pl.Series("v", values, dtype=pl.String)
    vocabulary = fit(list(values)) if values else Vocabulary().fit(column, pl.Series([], dtype=pl.Int64))
    codes = vocabulary.transform(column)
    assert (codes >= FIRST_VALUE).all()
    assert vocabulary.decode(codes).to_list() == values
