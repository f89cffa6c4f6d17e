"""Matrices side by side keep their names, rows and keys."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly.base import FeatureMatrix
from anomaly.errors import DataError
from anomaly.features.embeddings import embedding_matrix, join


def test_embeddings_are_named() -> None:
    found = embedding_matrix(np.ones((3, 2)), np.arange(3, dtype=np.uint64))
    assert found.names == ("embedding.0", "embedding.1")
    assert found.values.dtype == np.float32


def test_join_keeps_columns_and_keys() -> None:
    left = FeatureMatrix(np.zeros((3, 1), np.float32), ("a",))
    keys = np.arange(3, dtype=np.uint64)
    found = join(left, embedding_matrix(np.ones((3, 2)), keys))
    assert found.names == ("a", "embedding.0", "embedding.1")
    np.testing.assert_array_equal(found.values, [[0, 1, 1]] * 3)
    assert found.keys is keys


def test_join_refuses_what_does_not_fit() -> None:
    left = FeatureMatrix(np.zeros((3, 1), np.float32), ("a",))
    with pytest.raises(DataError, match="rows"):
        join(left, embedding_matrix(np.ones((2, 2))))
    with pytest.raises(DataError, match="'a'"):
        join(left, left)
    with pytest.raises(DataError, match="nothing"):
        join()
