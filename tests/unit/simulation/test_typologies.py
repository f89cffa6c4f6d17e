"""Every typology has its tell-tale, and camouflage takes it away little by little."""

from functools import cache

import polars as pl
import pytest

from anomaly.simulation.shop import Shop


@cache
def sessions(camouflage: float) -> pl.DataFrame:
    """Return one row of plain statistics per session of a shop with many anomalies."""
    made = Shop(users=900, anomaly_rate=0.15, camouflage=camouflage, random_state=2).simulate()
    events = made.events.sort("session", "event_id").with_columns(
        gap=pl.col("time").diff().over("session").dt.total_microseconds() / 1e6,
        users=pl.col("user").n_unique().over("device"),
        fresh=pl.col("event_id").min().over("device") >= pl.col("event_id").min().over("session"),
        new_card=pl.col("event_id").min().over("card") >= pl.col("event_id").min().over("session"),
    )
    names = "login search browse cart order pay return review".split()  # noqa: SIM905
    rows = events.group_by("session").agg(
        pl.len().alias("length"),
        *[(pl.col("event") == name).sum().alias(name) for name in names],
        pl.col("user").first(),
        start=pl.col("time").first(),
        gap=pl.col("gap").median(),
        unevenness=pl.col("gap").log().std(),
        spent=pl.col("amount").filter(pl.col("event") == "pay").max(),
        paid=pl.col("amount").filter(pl.col("event") == "pay").mean(),
        cards=pl.col("card").n_unique(),
        items=pl.col("item").drop_nulls().n_unique() / pl.col("item").count(),
        stars=pl.col("rating").is_in([1, 5]).mean(),
        sellers=pl.col("seller").filter(pl.col("event") == "review").n_unique() / (pl.col("event") == "review").sum(),
        sharing=(pl.col("users") > 1).mean(),
        fresh_device=pl.col("fresh").first().cast(pl.Float64),
        fresh_card=pl.col("new_card").filter(pl.col("event") == "pay").any().cast(pl.Float64),
    )
    rows = rows.sort("user", "start").with_columns(
        silence=(pl.col("start") - pl.col("start").shift()).over("user").dt.total_seconds() / 86_400
    )
    return rows.join(made.labels, left_on="session", right_on="sequence")


def means(typology: str, statistic: str) -> list[float]:
    return [
        sessions(camouflage).filter(pl.col("typology") == typology)[statistic].mean() for camouflage in (0.0, 0.5, 1.0)
    ]


@pytest.mark.parametrize(
    ("typology", "statistic", "blatant_is"),
    [
        ("order_brushing", "order", "high"),
        ("order_brushing", "sharing", "high"),
        ("order_brushing", "gap", "low"),
        ("order_brushing", "items", "low"),
        ("order_brushing", "browse", "low"),
        ("click_fraud", "browse", "high"),
        ("click_fraud", "gap", "low"),
        ("click_fraud", "unevenness", "low"),
        ("abnormal_returns", "return", "high"),
        ("abnormal_returns", "browse", "low"),
        ("account_takeover", "login", "high"),
        ("account_takeover", "spent", "high"),
        ("account_takeover", "fresh_device", "high"),
        ("account_takeover", "gap", "low"),
        ("card_testing", "pay", "high"),
        ("card_testing", "cards", "high"),
        ("card_testing", "paid", "low"),
        ("payment_fraud", "spent", "high"),
        ("payment_fraud", "fresh_card", "high"),
        ("payment_fraud", "gap", "low"),
        ("review_bursts", "review", "high"),
        ("review_bursts", "stars", "high"),
        ("review_bursts", "sellers", "low"),
        ("review_bursts", "gap", "low"),
        ("churn", "length", "low"),
        ("churn", "silence", "high"),
    ],
)
def test_camouflage_takes_the_tell_tale_away(typology: str, statistic: str, blatant_is: str) -> None:
    values = means(typology, statistic)
    assert values == sorted(values, reverse=blatant_is == "high"), values
    usual = sessions(1.0).filter(pl.col("typology") == "")[statistic].drop_nulls().mean()
    assert abs(values[0] - values[2]) > 0.1 * max(abs(values[2]), 0.2 * usual), values


def test_honest_sessions_do_what_is_suspicious_elsewhere() -> None:
    honest = sessions(0.3).filter(pl.col("typology") == "")
    assert (honest["return"] >= 3).sum() > 5
    assert (honest["review"] >= 4).sum() > 5
    assert (honest["order"] >= 3).sum() > 5
    assert (honest["login"] >= 2).sum() > 50
    assert (honest["cards"] >= 2).sum() > 5
    assert (honest["sharing"] > 0).mean() > 0.02
    assert honest["fresh_device"].mean() > 0.02
    big = honest.filter(pl.col("spent") > 5 * honest["spent"].median())
    assert big["fresh_card"].sum() >= 5
    assert (honest["browse"] > 40).sum() > 5


def test_honest_activity_is_uneven() -> None:
    honest = sessions(0.3).filter(pl.col("typology") == "")
    per_user = honest.group_by("user").len()["len"].sort(descending=True)
    assert per_user[: len(per_user) // 10].sum() > 0.25 * per_user.sum()
    hours = honest["start"].dt.hour().value_counts().sort("start")["count"]
    assert hours[2:5].sum() < 0.3 * hours[19:22].sum()


@pytest.mark.parametrize("start", ["2025-01-06", "2025-01-09"])
def test_weekends_are_those_of_the_calendar(start: str) -> None:
    made = Shop(users=400, sessions_per_user=20, days=56, start=start, anomaly_rate=0).simulate()
    days = made.events.unique("session").group_by(pl.col("time").dt.weekday()).len().sort("len", descending=True)
    assert set(days["time"][:2]) == {6, 7}, days


def test_honest_traffic_does_not_depend_on_camouflage() -> None:
    def usual(camouflage: float) -> pl.Series:
        made = Shop(users=60, camouflage=camouflage, random_state=5).simulate()
        honest = made.labels.filter(pl.col("label") == 0)["sequence"]
        return made.events.filter(pl.col("session").is_in(honest.implode()))["time"]

    assert usual(0.0).equals(usual(1.0))
