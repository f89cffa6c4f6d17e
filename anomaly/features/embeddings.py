"""Embeddings as features, and matrices side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.base import FeatureMatrix
from anomaly.errors import DataError


def embedding_matrix(array: NDArray[Any], keys: NDArray[np.uint64] | None = None) -> FeatureMatrix:
    """Name the columns of an (n, d) array ``embedding.0`` and so on."""
    values = np.asarray(array, np.float32)
    return FeatureMatrix(values, tuple(f"embedding.{d}" for d in range(values.shape[1])), keys)


def join(*matrices: FeatureMatrix) -> FeatureMatrix:
    """Put matrices of the same rows side by side; the keys are those of the first that has any.

    Raises
    ------
    DataError
        If the numbers of rows differ, or two columns have one name.
    """
    if not matrices:
        raise DataError("nothing to join; give at least one feature matrix")
    rows = {len(m) for m in matrices}
    if len(rows) > 1:
        raise DataError(
            f"feature matrices have {', '.join(map(str, sorted(rows)))} rows; give matrices of the same rows"
        )
    names = tuple(name for m in matrices for name in m.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two feature columns are named {twice[0]!r}; rename one of them")
    keys = next((m.keys for m in matrices if m.keys is not None), None)
    return FeatureMatrix(np.concatenate([m.values for m in matrices], axis=1), names, keys)
