"""The labelling loop against labels that are known already: how much is found, how well the rest is ranked.

Shapes: n items of the pool, m held-out items.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.active.learner import ActiveLearner
from anomaly.errors import ConfigError
from anomaly.metrics.ranking import average_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items
    from anomaly.base import Learner, QueryStrategy

MARKS = (0, 10, 20, 50, 100, 200)
"""Numbers of labels at which the figures are taken."""


@dataclass(frozen=True)
class Analysts:
    """Simulated annotators.

    Parameters
    ----------
    wrong : share of the verdicts that are false
    spread : how unequal the annotators are: the worst errs ``wrong * (1 + spread)``, the best ``wrong * (1 - spread)``
    count : annotators, who take turns
    delay : verdicts that are asked for before one arrives
    """

    wrong: float = 0.0
    spread: float = 0.0
    count: int = 1
    delay: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.wrong * (1 + abs(self.spread)) < 0.5:
            raise ConfigError(f"wrong={self.wrong}, spread={self.spread}: every annotator must err less than half")
        if self.count < 1 or self.delay < 0:
            raise ConfigError(f"annotators={self.count}, delay={self.delay}: expected at least 1 and at least 0")

    def judge(self, truth: int, turn: int, rng: np.random.Generator) -> int:
        """Return the verdict on an item."""
        place = 2 * (turn % self.count) / (self.count - 1) - 1 if self.count > 1 else 0.0
        return truth ^ int(rng.random() < self.wrong * (1 + self.spread * place))


@dataclass(frozen=True)
class Pass:
    """One pass through a pool.

    Attributes
    ----------
    asked : places of the items, in the order in which they were asked about
    found : number of labels to true anomalies among the items asked about
    ap_pool, ap_held_out : number of labels to average precision; the second empty where nothing was held out
    update_ms : mean time from a verdict to the next question
    """

    asked: list[int]
    found: dict[int, int]
    ap_pool: dict[int, float]
    ap_held_out: dict[int, float]
    update_ms: float


def replay(
    pool: Items,
    truth: NDArray[np.int64],
    learner: Learner,
    query: QueryStrategy,
    *,
    budget: int,
    analysts: Analysts | None = None,
    held_out: tuple[Items, NDArray[np.int64]] | None = None,
    random_state: int = 0,
) -> Pass:
    """Ask, judge and rank until the budget or the pool is used up.

    Parameters
    ----------
    truth : (n,) 1 anomalous, 0 normal
    held_out : items and their truth, which are ranked only
    """
    analysts = analysts or Analysts()
    loop = ActiveLearner(pool, learner, query, random_state=random_state)
    rng = np.random.default_rng([random_state, 1])
    asked: list[int] = []
    waiting: deque[tuple[int, int]] = deque()
    figures: dict[str, dict[int, Any]] = {"found": {}, "pool": {}, "held_out": {}}
    spent = 0.0
    for turn in range(budget + 1):
        if turn in MARKS or turn == budget:
            figures["found"][turn] = int(truth[asked].sum())
            figures["pool"][turn] = average_precision(truth, loop.posterior_)
            if held_out is not None:
                figures["held_out"][turn] = average_precision(held_out[1], loop.learner.score(held_out[0]))
        if turn == budget:
            break
        begun, left = time.perf_counter(), len(asked) < len(pool)
        if left:
            item = int(loop.choose(1, exclude=[pool.ids[i] for i, _ in waiting]).items[0])
            asked.append(item)
            waiting.append((item, analysts.judge(int(truth[item]), turn, rng)))
        # Where the items have ended, what is due comes turn by turn.
        if len(waiting) > analysts.delay or (waiting and not left):
            place, verdict = waiting.popleft()
            loop.teach(pool.ids[place], verdict)
        spent += time.perf_counter() - begun
    return Pass(asked, figures["found"], figures["pool"], figures["held_out"], 1000 * spent / max(len(asked), 1))


def shuffled(truth: NDArray[np.int64], random_state: int) -> NDArray[np.int64]:
    """Return the places of all items in an order that is drawn.

    Files are often sorted by their label, and of equals the first is asked: in the order of the file, a learner that
    holds much for equal would be told the labels.
    """
    return np.random.default_rng([random_state, 3]).permutation(len(truth))


def halves(truth: NDArray[np.int64], random_state: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of two halves, drawn at random, with as many anomalies in each; their order is drawn, too."""
    rng = np.random.default_rng([random_state, 2])
    order = rng.permutation(len(truth))
    order = order[np.argsort(truth[order], kind="stable")]
    return rng.permutation(order[::2]), rng.permutation(order[1::2])
