import datetime as dt

import polars as pl

from anomaly.commands.report import by_clock


def test_times_are_told_by_the_clock_of_the_data() -> None:
    noon = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
    scores = pl.DataFrame({"first_time": [noon, None], "last_time": [noon, noon]})
    for zone, hour in (("Europe/Berlin", 14), ("", 12)):
        told = by_clock(scores, zone)
        assert told["first_time"][0].hour == told["last_time"][1].hour == hour
        assert told["last_time"].dt.timestamp().equals(scores["last_time"].dt.timestamp())
    lapse = pl.DataFrame({"first_time": [dt.timedelta(1)], "last_time": [None]})
    assert by_clock(lapse, "Europe/Berlin").equals(lapse)
