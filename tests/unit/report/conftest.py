import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from anomaly.metrics import evaluate
from anomaly.report import Case, CaseEvent, ReportData
from anomaly.scores.thresholds import Budget

START = dt.datetime(2024, 1, 1)


def scores_frame(n: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    p = np.clip(rng.random(n) ** np.where(rng.random(n) < 0.05, 6, 1), 1e-9, 1)
    score = -np.log10(p)
    first = np.datetime64(START, "us") + (rng.random(n) * 30 * 86400e6).astype("timedelta64[us]")
    return pl.DataFrame(
        {
            "sequence": [f"u{k % 97}#{k // 97}" for k in range(n)],
            "entity": [f"u{k % 97}" for k in range(n)],
            "length": rng.integers(1, 30, n),
            "first_time": first,
            "last_time": first + np.timedelta64(600, "s"),
            "score": score,
            "p_value": p,
            "flagged": score > 2,
            "score.gru": score,
            "score.lof": rng.exponential(0.4, n),
        }
    ).with_columns(rank=pl.col("score").rank("ordinal", descending=True).cast(pl.Int64))


def case_of(row: dict, n_events: int = 12) -> Case:
    events = [
        CaseEvent(k, f"2024-01-01 00:00:{k:02d}", {"event": "view", "device": f"d{k}"}, float(k % 5), "device")
        for k in range(min(n_events, row["length"]))
    ]
    return Case(row["sequence"], row["entity"], row["rank"], row["score"], row["p_value"], events, row["length"])


def report_data(n: int = 400, *, labels: bool = True) -> ReportData:
    scores = scores_frame(n)
    label = (scores["p_value"] < 0.03).cast(pl.Int8)
    truth = pl.DataFrame({"sequence": scores["sequence"], "label": label}).with_columns(
        typology=pl.when(pl.col("label") == 1).then(pl.lit("card testing"))
    )
    p = 1 - np.random.default_rng(1).random(300)
    return ReportData(
        title="a shop",
        scores=scores,
        threshold=Budget(rate=0.01).fit(-np.log10(p), p).summary(),
        run={"version": "0.1.0", "seed": 7},
        data={"source": "shop/events.parquet", "rows": 123456, "first event": START},
        findings=[{"level": "warning", "column": "device", "finding": "null spike", "rows": 1834}],
        schema=["events.entity=user"],
        training=[{"epoch": k, "train_loss": 5 - k / 3, "validation_loss": 5 - k / 4} for k in range(4)],
        event_scores=scores.select("sequence", position=0, score="score", p_value="p_value", field=pl.lit("device")),
        timelines=[case_of(row) for row in scores.sort("rank").head(50).iter_rows(named=True)],
        members=[{"member": "lof", "weight": 0.2}, {"member": "gru", "weight": 0.8}],
        power=[{"kind": "skip", "found": 0.2, "n": 50}, {"kind": "shuffle", "found": 0.9, "n": 50}],
        warnings=["training stopped at trainer.max_time=8m"],
        metrics=evaluate(scores, truth, n_bootstrap=20) if labels else None,
        reproduce=["anomaly train run=runs/a events.path=shop/events.parquet"],
        held_out_p_values=p,
    )


@pytest.fixture(scope="session")
def data() -> ReportData:
    return report_data()


@pytest.fixture(scope="session")
def bare() -> ReportData:
    return replace(ReportData(title="bare", scores=scores_frame(5)))
