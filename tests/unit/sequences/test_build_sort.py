import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.sequences.sort import sort_rows

INT64 = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60).flatmap(lambda n: st.lists(st.lists(INT64, min_size=n, max_size=n), min_size=1, max_size=3)))
def test_any_integers_sort_as_lexsort_does(columns: list[list[int]]) -> None:
    keys = [np.array(c, np.int64) for c in columns]
    assert sort_rows(keys, len(keys[0])).tolist() == np.lexsort(keys[::-1]).tolist()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([1, 1_000, 1_000_000]))
def test_times_entities_and_ties(seed: int, unit: int) -> None:
    rng = np.random.default_rng(seed)
    entity = rng.integers(-1, 50, 3000).astype(np.int32)
    time = rng.integers(0, 500 if unit == 1 else 2**38, 3000) * unit + 7
    assert (sort_rows([entity, time], 3000) == np.lexsort((time, entity))).all()


def test_no_key_keeps_the_rows() -> None:
    assert sort_rows([], 4).tolist() == [0, 1, 2, 3]
    assert sort_rows([np.zeros(3, np.int64)], 3).tolist() == [0, 1, 2]
