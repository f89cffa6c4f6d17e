"""PyOD's own networks, kept without pickle and scored row by row.

What a fit has learnt is taken out as plain state: weights, arrays, scikit-learn estimators. To use it again the network
is built by a short fit on noise of the same shape, whose outcome the state then replaces.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler

from anomaly.base import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

NETWORKS = frozenset({"AutoEncoder", "VAE", "DeepSVDD", "LUNAR", "DIF"})
"""Classes of `pyod.models` that are fitted through `DeepEstimator`."""

_LENGTHS = frozenset({"epoch_num", "epochs", "n_epochs"})
"""What PyOD's classes call the epochs."""
_NOISE_ROWS = 64
_NEEDLESS = frozenset({"decision_scores_", "labels_", "threshold_", "best_model_dict", "x_reduced_lst", "optimizer"})


class DeepEstimator(Estimator):
    """One of PyOD's networks.

    Parameters
    ----------
    target : dotted name of the class
    options : its keyword arguments

    Attributes
    ----------
    state_ : attribute to what was learnt: arrays, estimators, plain values, and the weights of networks
    """

    def __init__(self, *, target: str, options: dict[str, Any]) -> None:
        self.target = target
        self.options = options

    def fit(self, X: NDArray[np.float32], y: None = None) -> Self:
        """Train the network and score its rows."""
        self.n_columns_ = X.shape[1]
        self._network = self._make(X, dict(self.options))
        self.state_ = {n: _state(v) for n, v in vars(self._network).items() if n not in _NEEDLESS and _is_kept(v)}
        self.decision_scores_ = self.decision_function(X)
        return self

    def decision_function(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (n,) scores, higher is more anomalous."""
        if not hasattr(self, "_network"):
            self._network = self._rebuilt()
        return np.asarray(self._network.decision_function(X), np.float64).reshape(-1)

    def _make(self, X: NDArray[np.float32], options: dict[str, Any]) -> Any:
        kind = _kind(self.target)
        if kind.__name__ == "DIF":
            kind = _without_batch(kind)
        network = kind(**_fitting(kind, options, *X.shape)).fit(X)
        if kind.__name__ == "VAE":
            # The mean of the code in place of a draw: a row's score is then no matter of chance.
            network.model.reparameterize = lambda mean, _: mean
        return network

    def _rebuilt(self) -> Any:
        accepted = inspect.signature(_kind(self.target)).parameters
        options = {**self.options, **dict.fromkeys(_LENGTHS & accepted.keys(), 1)}
        noise = np.random.default_rng(0).normal(size=(_NOISE_ROWS, self.n_columns_)).astype(np.float32)
        network = self._make(noise, options)
        for name, value in self.state_.items():
            setattr(network, name, _restored(getattr(network, name, None), value))
        return network


def _kind(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)


def _fitting(kind: type, options: dict[str, Any], n: int, k: int) -> dict[str, Any]:
    """Return the keyword arguments with what depends on the rows."""
    accepted = inspect.signature(kind).parameters
    if "n_features" in accepted:
        options["n_features"] = k
    if "verbose" in accepted:
        options["verbose"] = 0
    if "batch_size" in accepted:
        size = min(int(options.get("batch_size", accepted["batch_size"].default)), max(n // 2, 1))
        # A last batch of one row has no spread to be normalised by.
        options["batch_size"] = size + 1 if n % max(size, 1) == 1 else size
    if "n_neighbours" in accepted:
        options["n_neighbours"] = min(int(options.get("n_neighbours", 5)), max(n // 4, 1))
    return options


def _without_batch(kind: Any) -> Any:
    """Return the class with representations in the units of the fitted rows; its own takes those of each batch."""
    import torch

    class RowwiseDIF(kind):  # type: ignore[misc]  # PyOD has no types, and is imported where it is used.
        scalers: list[Any]

        def fit(self, X: Any, y: None = None) -> Any:
            self.scalers = []
            return super().fit(X, y)

        def _deep_representation(self, net: Any, X: Any) -> Any:
            with torch.no_grad():
                found = net(torch.from_numpy(np.asarray(X, np.float32)).to(self.device)).cpu().numpy()
            place = next((i for i, one in enumerate(self.net_lst) if one is net), None)
            # While it is fitted, each network comes by for the first time, in its turn.
            if place is None or place >= len(self.scalers):
                self.scalers.append(StandardScaler().fit(found))
                place = -1
            return np.tanh(self.scalers[place].transform(found))

    return RowwiseDIF


def _is_kept(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_kept(v) for v in value)
    plain = value is None or isinstance(value, (bool, int, float, str, np.ndarray, np.generic))
    return plain or _is_module(value) or type(value).__name__ == "Tensor" or isinstance(value, BaseEstimator)


def _is_module(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Module)


def _state(value: Any) -> Any:
    """Return what a file can hold."""
    if _is_module(value):
        return {"weights": {name: w.detach().cpu().numpy().copy() for name, w in value.state_dict().items()}}
    if isinstance(value, list):
        return [_state(v) for v in value]
    if type(value).__name__ == "Tensor":
        return {"tensor": value.detach().cpu().numpy().copy()}
    return value


def _restored(now: Any, value: Any) -> Any:
    """Return the learnt value in the form that the network has it."""
    import torch

    if isinstance(value, dict) and "tensor" in value:
        return torch.from_numpy(value["tensor"].copy()).to(now.device if now is not None else "cpu")
    if isinstance(value, dict) and "weights" in value:
        now.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in value["weights"].items()})
        return now
    if isinstance(value, list) and isinstance(now, list) and len(now) == len(value):
        return [_restored(one, v) for one, v in zip(now, value, strict=True)]
    return value
