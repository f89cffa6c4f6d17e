"""Competitors that do what competitors must not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from anomaly.sweeps.competitors import Competitor, Outcome
from anomaly.sweeps.task import Task


class Good(Competitor):
    """The largest value; leaves a line for every time it is run."""

    def __init__(self, *, diary: str = "", seconds: float = 0.0) -> None:
        self.diary = diary
        self.seconds = seconds

    def compete(self, task: Task) -> Outcome:
        time.sleep(self.seconds)
        if self.diary:
            with Path(self.diary).open("a") as file:
                file.write(f"{task.name} {task.seed}\n")
        return Outcome(task.features()[1].values.max(1).astype(float), {"fit": 0.0})


class Raising(Competitor):
    def compete(self, task: Task) -> Outcome:
        raise ValueError("no <b>such</b> | thing")


class Nan(Competitor):
    def compete(self, task: Task) -> Outcome:
        return Outcome(np.full(len(task.ids), np.nan), {})


class Hungry(Competitor):
    def compete(self, task: Task) -> Outcome:
        return Outcome(np.ones((31_000, 1_000_000), np.int8)[0, : len(task.ids)].astype(float), {})


class Slow(Competitor):
    def compete(self, task: Task) -> Outcome:
        time.sleep(60)
        raise AssertionError


class Dying(Competitor):
    def compete(self, task: Task) -> Outcome:
        os.kill(os.getpid(), 11)
        raise AssertionError


class Printing(Good):
    def uses_seed(self) -> bool:
        return False

    def compete(self, task: Task) -> Outcome:
        print("noise")  # noqa: T201
        return super().compete(task)
