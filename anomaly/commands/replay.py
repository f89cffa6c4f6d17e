"""`anomaly replay`: the labelling loop against known labels, on a run or on a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from sklearn.base import clone

from anomaly.active.replay import MARKS, Analysts, halves, replay, shuffled
from anomaly.atomic import write_json
from anomaly.base import seeded
from anomaly.commands.console import Console
from anomaly.commands.files import read_table
from anomaly.commands.targets import instantiate
from anomaly.commands.tuning import FinetuneCommand
from anomaly.errors import ConfigError
from anomaly.explain.words import amount

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.active.items import Items
    from anomaly.active.tables import LabelledTable
    from anomaly.base import Detector, Learner, QueryStrategy
    from anomaly.commands.compose import Settings


class Source(Protocol):
    """Labelled items, from which pools are made."""

    @property
    def truth(self) -> NDArray[np.int64]:
        """(n,) 1 anomalous, 0 normal."""

    def pools(self, seed: int, *parts: NDArray[np.int64]) -> list[Items]:
        """Return the named parts as pools; what is fitted without labels is fitted on the first."""


@dataclass(frozen=True)
class RunSource:
    """The ranked items of a run whose label is known."""

    items: Items
    truth: NDArray[np.int64]

    def pools(self, seed: int, *parts: NDArray[np.int64]) -> list[Items]:
        """Return the parts; the run's scores stand whatever the seed."""
        return [self.items.take(rows) for rows in parts]


@dataclass(frozen=True)
class TableSource:
    """The rows of a table."""

    table: LabelledTable
    detector: Detector

    @property
    def truth(self) -> NDArray[np.int64]:
        """(n,) 1 anomalous, 0 normal."""
        return self.table.truth

    def pools(self, seed: int, *parts: NDArray[np.int64]) -> list[Items]:
        """Fit the detector on the first part and score all."""
        from anomaly.base import FeatureMatrix

        features = self.table.features
        detector = seeded(self.detector, seed).fit(FeatureMatrix(features.values[parts[0]], features.names))
        return [self.table.pool(detector, rows) for rows in parts]


def command(settings: Settings) -> None:
    """Replay, write the figures, and draw them beside."""
    values = settings.values
    analysts = Analysts(values["wrong"], values["spread"], values["annotators"], values["delay"])
    learner, query = loop_parts(settings)
    if "wait" in learner.get_params(deep=False):
        # A tuning in the background would end after the last question.
        learner.set_params(wait=True)
    out = Path(values["out"])
    if out.is_dir() or out.suffix == ".svg":
        raise ConfigError(f"out={out}: a file of figures, such as curve.json; the picture comes beside it as .svg")
    source = _source(settings)
    if values["held_out"] and source.truth.sum() < 2:
        raise ConfigError("one item is anomalous, so no half can be held out; held_out=false leaves that pass out")
    with Console(quiet=values["quiet"]) as console:
        rows = []
        for seed in range(values["seeds"]):
            console.progress("replaying", seed, values["seeds"])
            rows.append(_seed(source, learner, query, values["budget"], analysts, seed, values["held_out"]))
        write_json(out, _document(settings, source, rows))
        picture = out.with_suffix(".svg")
        _draw(picture, source, rows)
        console.table("means over seeds", _means(rows))
        console.say(
            f"{amount(len(source.truth), 'item')}, {int(source.truth.sum()):,} anomalous; figures in {out}, {picture}"
        )


def loop_parts(settings: Settings) -> tuple[Learner, QueryStrategy]:
    """Return the learner, and the strategy with its random audit.

    Raises
    ------
    ConfigError
        If either cannot be built.
    """
    from anomaly.active.strategies import Audited

    values = settings.values
    learner = instantiate(values["learner"], settings.allow, "learner")
    query = instantiate(values["query"], settings.allow, "query")
    if "tuner" in learner.get_params(deep=False) and values["run"] is not None:
        learner.set_params(tuner=FinetuneCommand(run=str(values["run"])).allowing(settings.allow))
    return learner, Audited(strategy=query, share=values["audit"]) if values["audit"] else query


def _source(settings: Settings) -> Source:
    values = settings.values
    table, run = values["table"]["path"], values["run"]
    if (table is None) == (run is None):
        raise ConfigError("give either run= and labels=, or table.path= and table.label=")
    if run is not None:
        return _run_source(settings)
    from anomaly.active.tables import LabelledTable
    from anomaly.events.tabular import TableRoles

    detector = instantiate(values["detector"], settings.allow, "detector")
    return TableSource(LabelledTable.read(table, TableRoles.of(values["table"])), next(iter(detector.values())))


def _run_source(settings: Settings) -> Source:
    from anomaly.artifact.items import items_of_run
    from anomaly.artifact.run import Run
    from anomaly.metrics.matching import event_key, match_labels

    values = settings.values
    if values["labels"] is None:
        raise ConfigError("labels= must be given: the truth that the replay answers from")
    run = Run.load(values["run"], allow=settings.allow)
    labels, items = read_table(values["labels"], "labels"), items_of_run(run)
    scores = run.scores.with_row_index("place")
    key: Any = "sequence"
    labels_id = values["labels_id"]
    if run.facts["unit"] == "event":
        key, labels_id = event_key(labels, labels_id)
    matched = match_labels(scores, labels, scores_id=key, labels_id=labels_id, split=values["labels_split"])
    places = matched.rows["place"].to_numpy().astype(np.int64)
    return RunSource(items.take(places), matched.rows["label"].to_numpy().astype(np.int64))


def _seed(
    source: Source,
    learner: Learner,
    query: QueryStrategy,
    budget: int,
    analysts: Analysts,
    seed: int,
    held_out: bool,
) -> dict[str, Any]:
    """Return the figures of a seed: a pass over everything, and one over a half."""
    truth, order = source.truth, shuffled(source.truth, seed)
    pool = source.pools(seed, order)[0]
    common: dict[str, Any] = {"budget": budget, "analysts": analysts, "random_state": seed}
    whole = replay(pool, truth[order], seeded(learner, seed), clone(query), **common)
    row = {"seed": seed, "found": _keyed(whole.found), "ap_pool": _keyed(whole.ap_pool)}
    if held_out:
        known, rest = halves(truth, seed)
        first, second = source.pools(seed, known, rest)
        half = replay(
            first, truth[known], seeded(learner, seed), clone(query), held_out=(second, truth[rest]), **common
        )
        row["ap_held_out"] = _keyed(half.ap_held_out)
    floor = truth[order][np.argsort(-pool.scores, kind="stable")[:budget]]
    row |= {"update_ms": round(whole.update_ms, 3), "curve": _curve(truth[order][whole.asked], budget)}
    return row | {
        "found_without_labels": _keyed(_at_marks(floor, budget)),
        "curve_without_labels": _curve(floor, budget),
    }


def _at_marks(hits: NDArray[np.int64], budget: int) -> dict[int, int]:
    return {k: int(hits[:k].sum()) for k in sorted({*MARKS, budget}) if k <= budget}


def _curve(hits: NDArray[np.int64], budget: int) -> list[int]:
    """Return what is found after 0, 1, ... labels; where the items end, it stays."""
    found = np.concatenate([[0], np.cumsum(hits)])
    return [int(x) for x in np.pad(found, (0, budget + 1 - len(found)), mode="edge")]


def _keyed(figures: dict[int, Any]) -> dict[str, Any]:
    return {str(k): round(v, 6) if isinstance(v, float) else v for k, v in figures.items()}


def _document(settings: Settings, source: Source, rows: list[dict[str, Any]]) -> dict[str, Any]:
    told = ("learner", "query", "budget", "audit", "wrong", "spread", "annotators", "delay")
    return {
        "seeds": rows,
        "n": len(source.truth),
        "n_anomalous": int(source.truth.sum()),
        "settings": {name: settings.values[name] for name in told},
    }


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = [name for name in ("found", "found_without_labels", "ap_pool", "ap_held_out") if name in rows[0]]
    return [
        {"labels": k} | {name: f"{np.mean([row[name][k] for row in rows if k in row[name]]):.3g}" for name in columns}
        for k in rows[0]["found_without_labels"]
        if all(k in row[name] for row in rows for name in columns)
    ]


def _draw(path: Path, source: Source, rows: list[dict[str, Any]]) -> None:
    from anomaly.report.discovery import draw_discovery

    found = {"with labels": "curve", "without": "curve_without_labels"}
    shown = {"whole pool": "ap_pool", "held-out half": "ap_held_out"}
    draw_discovery(
        path,
        {name: np.array([row[key] for row in rows], np.float64) for name, key in found.items()},
        {
            name: ([int(k) for k in rows[0][key]], np.array([list(row[key].values()) for row in rows]))
            for name, key in shown.items()
            if key in rows[0]
        },
        int(source.truth.sum()),
        f"{amount(len(source.truth), 'item')}, {int(source.truth.sum()):,} anomalous, {amount(len(rows), 'seed')}",
    )
