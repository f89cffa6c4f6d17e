from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from anomaly.errors import SchemaError
from anomaly.events.times import NO_TIME, clock, guess_unit, parse_time

MOMENT = datetime(2024, 3, 9, 14, 30, 15, tzinfo=UTC)
MICROS = int(MOMENT.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-09 14:30:15",
        "2024-03-09T14:30:15",
        "2024-03-09T14:30:15.000",
        "2024-03-09T14:30:15Z",
        "2024-03-09 14:30:15 UTC",
        "2024-03-09T15:30:15+01:00",
        "2024-03-09T15:30:15+0100",
        "2024/03/09 14:30:15",
        "09.03.2024 14:30:15",
        "1709994615",
    ],
)
def test_text_forms(text: str) -> None:
    assert parse_time(pl.Series([text])).tolist() == [MICROS]


def test_forms_may_be_mixed_and_what_is_no_time_is_missing() -> None:
    column = pl.Series(["2024-03-09 14:30:15", None, "2024-03-09T14:30:15Z", "soon", "2024-03-09"])
    assert parse_time(column).tolist() == [MICROS, NO_TIME, MICROS, NO_TIME, MICROS - 52_215 * 1_000_000]


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64])
def test_epochs(unit: str, factor: int, dtype: type[pl.DataType]) -> None:
    column = pl.Series([MICROS // 10**6 * factor, None], dtype=pl.Int64).cast(dtype)
    assert guess_unit(column) == unit
    parsed = parse_time(column, unit)
    assert abs(parsed[0] - MICROS) <= 1
    assert parsed[1] == NO_TIME


def test_infinite_and_huge_numbers_are_no_time() -> None:
    assert (parse_time(pl.Series([float("inf"), float("nan"), 1e300])) == NO_TIME).all()
    assert (parse_time(pl.Series([2**62]), "s") == NO_TIME).all()


def test_naive_times_are_read_in_the_timezone() -> None:
    naive = pl.Series([datetime(2024, 7, 1, 12)])
    assert (
        parse_time(naive, timezone="Europe/Berlin")[0] == int(datetime(2024, 7, 1, 10, tzinfo=UTC).timestamp()) * 10**6
    )
    with pytest.raises(SchemaError, match="timezone"):
        parse_time(naive, timezone="Mars/Olympus")


def test_clock() -> None:
    hour, weekday = clock(np.array([MICROS, NO_TIME]))
    assert (hour[0], weekday[0]) == (14, 5)
    assert (hour[1], weekday[1]) == (-1, -1)
    assert clock(np.array([MICROS]), "Asia/Tokyo")[0][0] == 23


@pytest.mark.parametrize("text", ["09.03.2024 14:30", "2024-03-09 14:30"])
def test_times_without_seconds(text: str) -> None:
    assert parse_time(pl.Series([text])).tolist() == [MICROS - 15_000_000]
