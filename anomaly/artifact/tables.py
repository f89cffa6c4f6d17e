"""Scores as tables: `scores.parquet` and its companions for events and entities.

Shapes: T events, N sequences, n items (sequences, or events where they are what is ranked), m members.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from anomaly.atomic import replacing
from anomaly.events.files import kind_of
from anomaly.events.times import DATES_FROM
from anomaly.features.segments import reported

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.ensemble.scored import Scored
    from anomaly.sequences.store import SequenceStore

_Packing = Literal["uncompressed", "gzip", "zstd"]
_PACKINGS: dict[str, _Packing] = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class ScoreTables:
    """What is written after scoring.

    Attributes
    ----------
    scores : one row per item
    events : one row per event that is reported
    entities : one row per entity
    """

    scores: pl.DataFrame
    events: pl.DataFrame
    entities: pl.DataFrame

    def save(self, path: Path | str) -> list[Path]:
        """Write the scores to `path` and the others beside it, ``event_`` and ``entity_`` before the name."""
        path = Path(path)
        tables = {"": self.scores, "event_": self.events, "entity_": self.entities}
        written = []
        for prefix, table in tables.items():
            target = path.with_name(prefix + path.name)
            with replacing(target) as temporary:
                _write(table, temporary, target)
            written.append(target)
        return written


def score_tables(store: SequenceStore, scored: Scored, flagged: NDArray[np.bool_], unit: str) -> ScoreTables:
    """Return the tables of a scored store.

    Parameters
    ----------
    scored : what an ensemble's `score` returned
    flagged : (n,) decisions
    unit : "sequence" or "event", what an item is
    """
    kept_T = reported(store)[1]
    rows = _event_rows(store, kept_T) if unit == "event" else _sequence_rows(store)
    members = {
        f"score.{name}": np.asarray(scored.member_scores[:, k], np.float64)
        for k, name in enumerate(scored.member_names)
    }
    columns = {
        "score": np.asarray(scored.score, np.float64),
        "p_value": np.asarray(scored.p_value, np.float64),
        "flagged": np.asarray(flagged, np.bool_),
    }
    if scored.posterior is not None:
        columns["posterior"] = np.asarray(scored.posterior, np.float64)
    found = pl.DataFrame({**columns, **members})
    ranks = _ranks(found)
    scores = pl.concat([rows, found.select("score", "p_value", "flagged"), ranks.to_frame()], how="horizontal")
    scores = scores.hstack(found.drop("score", "p_value", "flagged"))
    return ScoreTables(scores, _events(store, scored, kept_T), _entities(scores))


def _ranks(found: pl.DataFrame) -> pl.Series:
    """Rank by the score; what ties there by the posterior, where labels have been learnt."""
    by = pl.struct("score", "posterior") if "posterior" in found.columns else pl.col("score")
    return found.select(by.rank("ordinal", descending=True).cast(pl.Int64).alias("rank")).to_series()


def _sequence_rows(store: SequenceStore) -> pl.DataFrame:
    length = np.maximum(store.lengths - store.context, 0)
    first, last = store.offsets[:-1] + store.context, store.offsets[1:] - 1
    return pl.DataFrame(
        {
            "sequence": store.sequence_ids,
            "entity": store.entity_ids,
            "length": length,
            "first_time": _time(store, first, length > 0),
            "last_time": _time(store, last, length > 0),
        }
    )


def _event_rows(store: SequenceStore, kept_T: NDArray[np.bool_]) -> pl.DataFrame:
    places = np.flatnonzero(kept_T)
    sequence = store.sequence_of_event()[places]
    time = _time(store, places, np.ones(len(places), np.bool_))
    return pl.DataFrame(
        {
            "id": event_ids(store)[places],
            "sequence": store.sequence_ids[sequence],
            "position": (store.position()[places] - store.context[sequence]).astype(np.int64),
            "entity": store.entity_ids[sequence],
            "length": np.ones(len(places), np.int64),
            "first_time": time,
            "last_time": time,
        }
    )


def event_ids(store: SequenceStore) -> pl.Series:
    """Return the ids of the events, the numbers of their rows where they have none."""
    return pl.Series("id", np.asarray(store.row)) if store.event_ids is None else store.event_ids


def _time(store: SequenceStore, places: NDArray[np.int64], known: NDArray[np.bool_]) -> pl.Series:
    """Return the times of some events: dates where they are dates, else durations since their zero."""
    if not store.has_time or not store.n_events:
        return pl.Series([None] * len(places), dtype=pl.Datetime("us", "UTC"))
    times = pl.Series(np.asarray(store.time)[np.clip(places, 0, store.n_events - 1)])
    times = times.set(pl.Series(~known), None)
    dated = bool((np.asarray(store.time[:: max(store.n_events // 1000, 1)]) >= DATES_FROM).any())
    return times.cast(pl.Datetime("us", "UTC") if dated else pl.Duration("us"))


def _events(store: SequenceStore, scored: Scored, kept_T: NDArray[np.bool_]) -> pl.DataFrame:
    places = np.flatnonzero(kept_T)
    sequence = store.sequence_of_event()[places]
    names = pl.Series(list(scored.event_field_names), dtype=pl.String)
    return pl.DataFrame(
        {
            "sequence": store.sequence_ids[sequence],
            "id": event_ids(store)[places],
            "position": (store.position()[places] - store.context[sequence]).astype(np.int64),
            "score": np.asarray(scored.event_score, np.float64)[places],
            "p_value": np.asarray(scored.event_p_value, np.float64)[places],
            "field": names[np.asarray(scored.event_field, np.int64)[places]],
        }
    )


def _entities(scores: pl.DataFrame) -> pl.DataFrame:
    """Return each entity's smallest p-value, corrected for how many items it had (Sidak 1967), and its worst item."""
    worst = scores.filter(pl.col("entity").is_not_null()).sort("rank").group_by("entity", maintain_order=True)
    item = "id" if "position" in scores.columns else "sequence"
    table = worst.agg(
        pl.len().cast(pl.Int64).alias("n_sequences"),
        pl.col("score").first().alias("worst_score"),
        pl.col("p_value").min().alias("worst_p"),
        pl.col(item).first().alias("worst_sequence"),
    )
    n = table["n_sequences"].to_numpy().astype(np.float64)
    p = sidak(table["worst_p"].to_numpy(), n)
    frame = table.select("entity", "n_sequences").with_columns(
        score=pl.Series(_corrected(table["worst_score"].to_numpy(), n)), p_value=pl.Series(p)
    )
    return frame.with_columns(table["worst_sequence"]).sort("score", descending=True, maintain_order=True)


def sidak(p: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the chance that the smallest of n independent p-values is at most p."""
    with np.errstate(divide="ignore"):
        return np.clip(-np.expm1(n * np.log1p(-np.minimum(p, 1.0))), np.finfo(np.float64).tiny, 1.0)


def _corrected(score: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log10 of the corrected p-value of a score; in the far tail, where p would vanish, its limit n p."""
    far = score > 12
    p = np.where(far, 0.5, np.minimum(10.0 ** -np.maximum(score, 0.0), 1.0))
    return np.where(far, score - np.log10(n), -np.log10(sidak(p, n)))


def _write(table: pl.DataFrame, path: Path, target: Path) -> None:
    """Write a table in the form that the name of its target asks for; Parquet unless it is known."""
    suffixes = [suffix.lower() for suffix in target.suffixes]
    kind, packing = kind_of(target), _PACKINGS.get(target.suffix.lower(), "uncompressed")
    if kind == "csv":
        separator = "\t" if ".tsv" in suffixes else ","
        table.write_csv(path, separator=separator, compression=packing)
    elif kind == "ndjson":
        table.write_ndjson(path, compression=packing)
    elif kind == "ipc":
        table.write_ipc(path)
    else:
        table.write_parquet(path)
