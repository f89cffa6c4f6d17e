"""No class escapes the contracts: each one in the package is on a list."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import anomaly
from anomaly.base import Detector, Learner, QueryStrategy, ScoreCalibrator, ScoreCombiner


def subclasses(base: type) -> Iterator[type]:
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


@pytest.mark.parametrize("contract", [Detector, ScoreCalibrator, ScoreCombiner, Learner, QueryStrategy])
def test_every_class_is_listed(contract: type, listed: set[Any]) -> None:
    for module in pkgutil.walk_packages(anomaly.__path__, "anomaly."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    concrete = {c for c in subclasses(contract) if c.__module__.startswith("anomaly.") and not inspect.isabstract(c)}
    missing = {c.__name__ for c in concrete - listed if not c.__name__.startswith("_")}
    assert concrete and not missing, f"add a line for {missing} to tests/contracts/conftest.py"
