"""How much memory a detector takes, told before it is fitted.

Shapes: n rows, k columns, m reference rows.
"""

from __future__ import annotations

from typing import Any

_FLOOR = 400 << 20
"""Python, numpy, scikit-learn and PyOD themselves."""

_SQUARE = {"KPCA": 4.0, "SOS": 4.0, "ABOD": 1.0, "COF": 2.0, "LOCI": 4.0, "SOD": 1.0, "ROD": 1.0, "RGraph": 2.0}
"""Matrices of reference rows x reference rows, in float64, that are held at a time."""
_COLUMNS = {"MCD": 6.0, "GMM": 10.0, "PCA": 3.0, "KPCA": 1.0, "EllipticEnvelope": 6.0}
"""Matrices of columns x columns."""
_COPIES = {"ECOD": 10.0, "COPOD": 10.0, "HBOS": 4.0, "MCD": 6.0, "GMM": 5.0, "LODA": 2.0, "INNE": 2.0, "DIF": 20.0}
"""Copies of the rows, in float64, that are held at a time; 3 unless named."""
_FIXED = {
    **{"OCSVM": 256 << 20, "LUNAR": 64 << 20, "LOF": 256 << 20, "KNN": 256 << 20},
    **{"AutoEncoder": 200 << 20, "VAE": 200 << 20, "DeepSVDD": 200 << 20},
}
"""Caches, blocks and networks of a fixed size."""


def memory_needed(detector: Any, n: int, k: int, reference: int | None = None) -> int:
    """Return about how many bytes a process needs that fits a detector on n rows x k columns and scores them.

    Parameters
    ----------
    detector : an estimator, a class, a dotted name, or a mapping with ``_target_``; behind the adapter or not
    reference : rows to learn from, as in the adapter; n for PyOD as it comes
    """
    from anomaly.detectors.classical import rows_learnt

    detector, reference = _inner(detector, reference)
    name = _name(detector)
    m = rows_learnt(name, n, reference)
    total = _FLOOR + 4 * n * k + 8 * m * k * _COPIES.get(name, 3.0)
    total += 8 * m * m * _SQUARE.get(name, 0.0) + 8 * k * k * _COLUMNS.get(name, 0.0) + _FIXED.get(name, 0)
    return int(total)


def _inner(detector: Any, reference: int | None) -> tuple[Any, int | None]:
    """Look through the adapter, configured or built."""
    if hasattr(detector, "get") and "detector" in detector:
        return detector["detector"], detector.get("reference", reference)
    if type(detector).__name__ == "PyODDetector":
        return detector.detector, detector.reference
    return detector, reference


def _name(detector: Any) -> str:
    if hasattr(detector, "get") and "_target_" in detector:
        detector = detector["_target_"]
    if isinstance(detector, str):
        return detector.rpartition(".")[2]
    return detector.__name__ if isinstance(detector, type) else type(detector).__name__
