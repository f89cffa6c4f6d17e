"""PyOD's and scikit-learn's detectors behind one adapter that keeps the laws.

Shapes: n rows, k features.
"""

from __future__ import annotations

import inspect
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from anomaly.base import Detector, FeatureMatrix
from anomaly.detectors.deep import NETWORKS, DeepEstimator
from anomaly.detectors.dictionary import hash_columns
from anomaly.detectors.neighbours import LocalOutlierFactor, NearestDistance
from anomaly.detectors.table import TablePreparer
from anomaly.detectors.tails import FrozenTails
from anomaly.errors import ConfigError, DataError

Float = NDArray[np.float64]

_FREE_OF_SCALE = {"IForest", "IsolationForest", "ECOD", "COPOD", "HBOS", "DIF"}
_LINEAR = {
    *("IForest", "IsolationForest", "ECOD", "COPOD", "HBOS", "PCA", "LODA", "INNE", "MCD", "EllipticEnvelope"),
    *("GMM", "CBLOF", "AutoEncoder", "VAE", "DeepSVDD", "DIF", "MAD", "Sampling"),
}
_IN_BLOCKS = {"LODA", "KPCA"}
"""Detectors whose projections differ by rounding with the number of rows, which histograms and roots then magnify."""
_NEIGHBOURS = {"LOF": LocalOutlierFactor, "LocalOutlierFactor": LocalOutlierFactor, "KNN": NearestDistance}
_ROWWISE = {"IsolationForest"}
"""Estimators that score a row that they were fitted on as any other."""
_BEYOND, _LIMIT = 1e12, 1e200
"""An infinite score counts as so many times the largest finite one of the fit, so that a tail that is fitted to it
still tells finite ones apart; finite ones keep their order up to the second, beyond which sums would overflow."""
_BLOCK, _FIXED = 50_000, 64
_KERNEL_COMPONENTS = 10
"""Components of a kernel PCA that states none, at most; the far must not be rebuilt (Hoffmann 2007)."""
_QUADRATIC, _NEAR = 10_000, 100_000
"""Rows that detectors of quadratic cost and those of neighbours learn from, unless a number is stated."""
_FORESTS, _POOL = ("IForest", "IsolationForest"), 25_600


class PyODDetector(Detector):
    """Any PyOD or scikit-learn outlier detector on a `FeatureMatrix`.

    The foreign sign is turned here and nowhere else. A row whose key was among the reference rows keeps the score that
    the fit gave it, which for neighbour detectors leaves the row itself out. ECOD and COPOD are scored against frozen
    columns, LOF and KNN of Euclidean distance by `Neighbours`; other detectors whose score depends on the batch are
    refused. An infinite score counts as a large one; NaN is an error.

    Parameters
    ----------
    detector : an estimator, a class, or a mapping with ``_target_`` and its keyword arguments
    reference : rows to learn from, at most, drawn with `random_state`; None is 100,000 for LOF and KNN, 10,000 for
        detectors of quadratic cost, and all for those of linear cost. Isolation forests draw from 25,600 rows at most,
        whatever is stated here, unless `max_samples` is: a tree takes 256 rows, and 256 of a drawn pool are
        distributed as 256 of all rows; what the pool changes is that trees have more rows in common
    scaling : "auto" leaves forests, tails and histograms in their units and scales robustly for the others
    constants : "keep" leaves in the columns of one value, for rows of another
    threads : limit for the numeric libraries' thread pools; None leaves it
    """

    infinite_ = _BEYOND
    """What an infinite score counts as."""

    def __init__(
        self,
        *,
        detector: Any,
        reference: int | None = None,
        scaling: Literal["auto", "none", "robust", "standard"] = "auto",
        constants: Literal["drop", "keep"] = "drop",
        threads: int | None = None,
        contamination: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.detector = detector
        self.reference = reference
        self.scaling = scaling
        self.constants = constants
        self.threads = threads
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: FeatureMatrix, y: NDArray[np.int64] | None = None) -> Self:
        """Fit the detector on the rows, or on a reference set drawn from them.

        Raises
        ------
        ConfigError
            If the detector needs labels, or scores a row by the batch it is in.
        DataError
            If there are no rows, the detector cannot be fitted on them, or a score of theirs is NaN.
        """
        if not len(X):
            raise DataError("no row to learn from; give at least one")
        kind, options = _resolve(self.detector)
        scaling = self.scaling
        if scaling == "auto":
            scaling = "none" if kind.__name__ in _FREE_OF_SCALE else "robust"
        self.prepare_ = TablePreparer(scaling=scaling, constants=self.constants).fit(X)
        rows = self._reference_rows(len(X), kind.__name__, options)
        values = self.prepare_.transform(X.take(rows))
        if kind.__name__ not in _LINEAR:
            values = _spread(values, self.random_state)
        self.estimator_ = None
        self.keys_, self.scores_ = np.zeros(0, np.uint64), np.zeros(0)
        self.infinite_ = _BEYOND
        if values.shape[1] and len(values) > 1:
            self.estimator_ = self._fit_estimator(kind, options, values)
            self._keep_scores(X, rows, values)
            self._refuse_batch_dependence(values)
        return self._set_scores(X)

    def _keep_scores(self, X: FeatureMatrix, rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Keep what the fit found for its own rows, unless it is what any row would get."""
        if type(self.estimator_).__name__ in _ROWWISE:
            return
        scores = _training_scores(self.estimator_, values)
        largest = np.abs(scores, where=np.isfinite(scores), out=np.zeros(len(scores))).max()
        self.infinite_ = _BEYOND * float(np.clip(largest, 1.0, _LIMIT / _BEYOND))
        self.keys_, first = np.unique(_keys(X)[rows], return_index=True)
        self.scores_ = self._clean(scores, " of the rows that it was fitted on")[first]

    def decision_function(self, X: FeatureMatrix) -> Float:
        """Return (n,) finite scores; rows are scored one block at a time.

        Raises
        ------
        DataError
            If the detector gives a row NaN.
        """
        self._check_fitted()
        out = np.zeros(len(X))
        if self.estimator_ is None:
            return out
        known = np.zeros(len(X), bool)
        if len(self.keys_):
            keys = _keys(X)
            place = np.minimum(np.searchsorted(self.keys_, keys), len(self.keys_) - 1)
            known = self.keys_[place] == keys
            out[known] = self.scores_[place[known]]
        new = np.flatnonzero(~known)
        with self._quiet():
            for start in range(0, len(new), _BLOCK):
                rows = new[start : start + _BLOCK]
                out[rows] = _score(self.estimator_, self.prepare_.transform(X.take(rows)))
        out[new] = self._clean(out[new])
        return out

    def _reference_rows(self, n: int, name: str, options: dict[str, Any]) -> NDArray[np.int64]:
        most = rows_learnt(name, n, self.reference)
        if name in _FORESTS and options.get("max_samples", "auto") == "auto":
            # Each tree draws 256 rows; out of fewer it draws them quicker, and no worse.
            most = min(most, _POOL)
        if n <= most:
            return np.arange(n)
        return np.sort(np.random.default_rng(self.random_state).choice(n, most, replace=False))

    def _fit_estimator(self, kind: type, options: dict[str, Any], values: NDArray[np.float32]) -> Any:
        options = _adapted(kind, dict(options), values, self.random_state)
        if kind.__name__ in NETWORKS and kind.__module__.startswith("pyod."):
            kind, options = DeepEstimator, {"target": f"{kind.__module__}.{kind.__name__}", "options": options}
        kind, options = _substitute(kind, options)
        try:
            with self._quiet():
                return _built(kind, options).fit(values)
        except (ValueError, IndexError, RuntimeError, np.linalg.LinAlgError) as error:
            shape = f"{len(values)} rows x {values.shape[1]} columns"
            raise DataError(f"{kind.__name__} cannot be fitted on {shape}: {error}") from error

    def _refuse_batch_dependence(self, values: NDArray[np.float32]) -> None:
        """Score a few rows in company and alone; a score that differs is no property of the row."""
        if type(self.estimator_).__name__ in (*_ROWWISE, "FrozenTails"):
            return
        probe = values[:: max(len(values) // 8, 1)][:8]
        name = type(self.estimator_).__name__
        try:
            with self._quiet():
                together = _score(self.estimator_, probe)
                apart = np.concatenate([_score(self.estimator_, row[None]) for row in probe])
        # What foreign detectors raise that only ever score the rows they were fitted on.
        except (AttributeError, NotImplementedError) as error:
            raise ConfigError(f"{name} cannot score new rows; choose another detector") from error
        except (ValueError, IndexError) as error:
            raise ConfigError(f"{name} cannot score a few rows alone ({error}); choose another detector") from error
        if not np.allclose(together, apart, rtol=1e-4, atol=1e-6, equal_nan=True):
            raise ConfigError(f"{name} scores a row differently alone and in a batch; choose another detector")

    def _clean(self, scores: Float, whose: str = "") -> Float:
        missing = int(np.isnan(scores).sum())
        if missing:
            name = type(self.estimator_).__name__
            raise DataError(f"{name}: {missing} of {len(scores)} scores{whose} are NaN; choose another detector")
        finite = np.nan_to_num(scores, posinf=self.infinite_, neginf=-self.infinite_)
        return np.clip(finite, -_LIMIT, _LIMIT)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep foreign warnings, thread counts and seeds from leaking either way."""
        from threadpoolctl import threadpool_limits

        limit = nullcontext() if self.threads is None else threadpool_limits(self.threads)
        with warnings.catch_warnings(), limit, _own_global_state(self.random_state):
            warnings.simplefilter("ignore")
            yield


def rows_learnt(name: str, n: int, reference: int | None = None) -> int:
    """Return how many of n rows a class learns from behind the adapter."""
    most = n if name in _LINEAR else _NEAR if name in _NEIGHBOURS else _QUADRATIC
    return min(n, reference or most)


def _resolve(detector: Any) -> tuple[type, dict[str, Any]]:
    """Return the class and the keyword arguments of an estimator, a class or a ``_target_`` mapping."""
    if isinstance(detector, type):
        return detector, {}
    if hasattr(detector, "get_params"):
        return type(detector), detector.get_params(deep=False)
    if not hasattr(detector, "keys") or "_target_" not in detector:
        raise ConfigError(f"detector {detector!r} is no estimator, class or mapping with _target_")
    options = {str(k): v for k, v in detector.items() if k != "_target_"}
    target = str(detector["_target_"])
    module, _, name = target.rpartition(".")
    if not module.startswith(("pyod.models", "sklearn.", "anomaly.detectors.")):
        known = "neither in pyod.models nor in sklearn"
        raise ConfigError(f"detector {target} is {known}; one of your own is a subclass of anomaly.base.Detector")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"detector {target} cannot be imported: {error}") from error
    return kind, options


def _built(kind: type, options: dict[str, Any]) -> Any:
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__} refuses its arguments ({error})") from error


def _substitute(kind: type, options: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    """Return what is fitted in place of `kind`: the same method without its slow or batch-bound path."""
    if kind.__name__ in ("ECOD", "COPOD"):
        return FrozenTails, options
    if kind.__name__ == "IForest":
        from sklearn.ensemble import IsolationForest

        return IsolationForest, options
    if kind.__name__ in _NEIGHBOURS and _is_euclidean(options):
        return _NEIGHBOURS[kind.__name__], {k: options[k] for k in ("n_neighbors", "method") if k in options}
    return kind, options


def _is_euclidean(options: dict[str, Any]) -> bool:
    metric, power = options.get("metric", "minkowski"), options.get("p", 2)
    return metric in ("euclidean", "l2") or (metric == "minkowski" and power == 2 and not options.get("metric_params"))


def _adapted(
    kind: type[Any], options: dict[str, Any], values: NDArray[np.float32], random_state: int
) -> dict[str, Any]:
    """Return the keyword arguments with the seed set, and neighbours and components within what the rows have."""
    if kind.__name__ in ("ECOD", "COPOD"):
        return {"rule": kind.__name__.lower()}
    accepted = inspect.signature(kind).parameters
    labels = inspect.signature(kind.fit).parameters.get("y")
    if labels is not None and labels.default is inspect.Parameter.empty:
        raise ConfigError(f"{kind.__name__} needs labels; choose a detector that learns without")
    if kind.__module__.startswith("sklearn.") and not hasattr(kind, "score_samples"):
        raise ConfigError(f"{kind.__name__} cannot score new rows; choose another detector")
    if "random_state" in accepted and options.get("random_state") is None:
        options["random_state"] = random_state
    if "n_neighbors" in accepted:
        default = accepted["n_neighbors"].default
        options["n_neighbors"] = max(min(int(options.get("n_neighbors", default)), len(values) - 1), 1)
    if "novelty" in accepted:
        options["novelty"] = True
    if kind.__name__ == "PCA" and options.get("n_components") is None:
        # PyOD divides by each component's share of the variance, which is noise where columns depend on each other.
        variances = np.linalg.svd(values - values.mean(0), compute_uv=False) ** 2
        options["n_components"] = max(int((variances > 1e-4 * variances.sum()).sum()), 1)
    if kind.__name__ == "KPCA" and not (options.get("n_components") or options.get("n_selected_components")):
        options |= _few_components(values, options)
    if kind.__name__ in _FORESTS:
        options.pop("behaviour", None)
        # A stated contamination makes the forest score its own training rows once more.
        options["contamination"] = "auto"
    return options


def _few_components(values: NDArray[np.float32], options: dict[str, Any]) -> dict[str, Any]:
    """Return how many kernel components to keep, and what finds as few of them fast.

    With all of them, PyOD's default, every fitted row is rebuilt to within rounding, whatever it is.
    """
    if (values == values[0]).all():
        return {}
    found = {"n_components": max(min(_KERNEL_COMPONENTS, (len(values) - 1) // 2), 1)}
    is_plain = options.get("kernel", "rbf") == "rbf" and options.get("eigen_solver", "auto") == "auto"
    return found | ({"eigen_solver": "arpack"} if is_plain else {})


def _spread(values: NDArray[np.float32], random_state: int) -> NDArray[np.float32]:
    """Return the rows moved by a hundredth of a standard deviation.

    Counts lie on a lattice: among more copies than neighbours every distance is nought or rounding, whose inverse is
    the density, and which of many equally far rows is a neighbour depends on the batch.
    """
    noise = np.random.default_rng(random_state).standard_normal(values.shape).astype(np.float32)
    noise *= np.float32(0.01) * values.std(0)
    noise += values
    return noise


def _score(estimator: Any, values: NDArray[np.float32]) -> Float:
    """Return (n,) scores, higher is more anomalous."""
    if type(estimator).__name__ in _IN_BLOCKS and len(values) != _FIXED:
        padded = np.concatenate([values, np.zeros((-len(values) % _FIXED, values.shape[1]), np.float32)])
        scores = [_score(estimator, padded[start : start + _FIXED]) for start in range(0, len(padded), _FIXED)]
        return np.concatenate(scores)[: len(values)]
    if type(estimator).__module__.startswith("sklearn."):
        return -np.asarray(estimator.score_samples(values), np.float64)
    return np.asarray(estimator.decision_function(values), np.float64).reshape(-1)


def _training_scores(estimator: Any, values: NDArray[np.float32]) -> Float:
    """Return (n,) scores of the rows that were fitted, each without itself where the detector can."""
    if hasattr(estimator, "negative_outlier_factor_"):
        return -np.asarray(estimator.negative_outlier_factor_, np.float64)
    if hasattr(estimator, "decision_scores_"):
        return np.asarray(estimator.decision_scores_, np.float64)
    return _score(estimator, values)


def _keys(X: FeatureMatrix) -> NDArray[np.uint64]:
    if X.keys is not None:
        return X.keys
    return hash_columns(len(X.names), *np.ascontiguousarray(X.values, np.float32).view(np.uint32).T) + np.zeros(
        len(X), np.uint64
    )


@contextmanager
def _own_global_state(seed: int) -> Iterator[None]:
    """Seed the global generators for code that draws from them, and put their states back afterwards.

    PyOD draws from numpy's old one, which can be reached in no newer way.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        if torch and torch_state is not None:
            torch.set_rng_state(torch_state)
