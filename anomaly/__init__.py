"""Rank the users, sessions and events of a raw event log that do not fit, without labels.

The rooms, in the order of the data; each imports only from those before it:
errors, atomic, tree, base
                          what every room keeps
metrics                   ranking, calibration, intervals
events                    raw rows to typed, encoded columns
simulation                labelled shop logs with fraud typologies
sequences                 columns to a ragged store, a store to batches
nn, models                pure torch; Lightning trains
features, scores          aggregates and embeddings; statistics, p-values, thresholds
detectors, ensemble       whatever answers decision_function; many scores to one
explain                   why an item scores as it does
active                    the label log, learners, what to ask next
artifact, report          a run folder; a run as one HTML page
labelling                 the page and the terminal where analysts label
sweeps                    benchmarks: competitors over data sets, a leaderboard
commands                  one function per command; the only room that knows Hydra
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomaly.active.learner import ActiveLearner
    from anomaly.artifact.run import Run
    from anomaly.base import Detector, EventDetector, FeatureMatrix
    from anomaly.commands.evaluate import evaluate
    from anomaly.commands.finetune import finetune
    from anomaly.commands.simulate import simulate
    from anomaly.commands.train import train
    from anomaly.errors import AnomalyError, ArtifactError, ConfigError, DataError, NotFittedError, SchemaError
    from anomaly.sequences.store import SequenceStore

__version__ = "0.1.0"

__all__ = [
    "ActiveLearner",
    "AnomalyError",
    "ArtifactError",
    "ConfigError",
    "DataError",
    "Detector",
    "EventDetector",
    "FeatureMatrix",
    "NotFittedError",
    "Run",
    "SchemaError",
    "SequenceStore",
    "evaluate",
    "finetune",
    "simulate",
    "train",
]

_HOMES = {
    "ActiveLearner": "active.learner",
    "Run": "artifact.run",
    "Detector": "base",
    "EventDetector": "base",
    "FeatureMatrix": "base",
    "SequenceStore": "sequences.store",
    "evaluate": "commands.evaluate",
    "finetune": "commands.finetune",
    "simulate": "commands.simulate",
    "train": "commands.train",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import anomaly` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module 'anomaly' has no attribute {name!r}")
    return getattr(importlib.import_module(f"anomaly.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
