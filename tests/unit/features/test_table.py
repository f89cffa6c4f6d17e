"""Rows of a table as features."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from anomaly.errors import DataError
from anomaly.features.table import TableFeatures, read_table
from anomaly.sequences.store import SequenceStore

FRAME = pl.DataFrame(
    {
        "a": [0.5, None, 1e30, -3.25] * 10,
        "kind": (["u"] * 8 + ["v", "w"]) * 4,
        "pair": ["p", "q"] * 20,
        "y": [1] + [0] * 39,
    }
)


def test_numbers_keep_their_values_and_gaps() -> None:
    table = read_table(FRAME, {"label": "y"})
    a = table.X.values[:, table.X.names.index("a")]
    np.testing.assert_array_equal(a[:4], np.array([0.5, np.nan, 1e30, -3.25], np.float32))
    assert table.ids.to_list() == list(range(40))
    assert table.y is not None and table.y.tolist() == [1] + [0] * 39


def test_values_become_their_rarity_and_flags() -> None:
    table = read_table(FRAME, {"label": "y"})
    names = table.X.names
    rarity = table.X.values[:, names.index("kind.rarity")]
    np.testing.assert_allclose(rarity[[0, 8]], np.log(41) - np.log([32, 4]), rtol=1e-6)
    flags = [k for k, name in enumerate(names) if name.startswith("kind=")]
    assert len(flags) == 3
    np.testing.assert_array_equal(table.X.values[:, flags].sum(1), 1)
    # Of two values the rarity says all.
    assert not [name for name in names if name.startswith("pair=")]


def test_equal_rows_have_equal_keys() -> None:
    keys = read_table(FRAME, {"label": "y"}).X.keys
    assert keys is not None
    assert keys[0] == keys[20] and len(np.unique(keys)) < 40


def test_sequences_of_several_events_are_refused() -> None:
    with pytest.raises(DataError, match="SequenceAggregates"):
        TableFeatures().fit(SequenceStore.from_codes(np.full(5, 4), [2, 3]))
