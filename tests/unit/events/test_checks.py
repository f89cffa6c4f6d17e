from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from anomaly.errors import DataError
from anomaly.events.checks import BadRows, EventChecker, Finding
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema

SCHEMA = EventSchema(
    entity="user",
    sequence=None,
    time="time",
    time_unit="s",
    order=None,
    id=None,
    categorical="event",
    numeric="amount",
    ends="open",
)
ROWS = {
    "user": ["a", "a", None, "b", "b", "b"],
    "time": ["2024-01-01", "2024-01-02", "2024-01-03", "soon", None, "2024-01-06"],
    "event": ["x", "y", "x", "y", "x", None],
    "amount": ["1", "2", "3", "4", "inf", "many"],
}


def check_events(
    source: EventSource, bad_rows: BadRows = "drop", max_bad: float | None = None, schema: EventSchema = SCHEMA
) -> list[Finding]:
    checker = EventChecker(schema, source, bad_rows, max_bad)
    for batch in source.batches(schema.columns):
        checker.check(batch)
    return checker.findings()


def by_check(findings: list[Finding]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(f.check, f.column): (f.count, f.row) for f in findings}


def test_an_hour_that_clocks_skip_is_told() -> None:
    rows = pl.DataFrame({"user": "a", "time": ["2025-03-30 02:12"], "event": "x", "amount": 1.0})
    schema = replace(SCHEMA, timezone="Europe/Berlin")
    with pytest.raises(DataError, match=r"'2025-03-30 02:12', an hour that clocks skip.*Europe/Berlin.*offset"):
        EventChecker(schema, EventSource.from_frame(rows)).check(rows)


def test_a_blank_name_is_told(tmp_path: Path) -> None:
    # All who are not known may be one entity by it.
    (tmp_path / "e.csv").write_text('user,time,event,amount\n"a",1,x,1\n"",2,x,1\n" ",3,x,1\n,4,x,1\n')
    found = by_check(check_events(EventSource.open(tmp_path / "e.csv")))
    assert found == {("missing key", "user"): (1, 3), ("blank key", "user"): (2, 1)}


@pytest.mark.parametrize("kind", ["frame", "csv"])
def test_bad_rows_are_dropped_and_counted(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame(ROWS)
    frame.write_csv(tmp_path / "e.csv")
    source = EventSource.from_frame(frame) if kind == "frame" else EventSource.open(tmp_path / "e.csv")
    found = by_check(check_events(source))
    assert found[("missing key", "user")] == (1, 2)
    assert found[("unparsable time", "time")] == (1, 3)
    assert found[("infinite value", "amount")] == (1, 4)
    assert found[("mixed types", "amount")] == (1, 5)
    assert found[("missing values", "time")][0] == 1 or found[("null spike", "time")][0] == 1
    checker = EventChecker(SCHEMA, source, "drop")
    kept = checker.check(next(source.batches()))
    assert kept.frame["user"].to_list() == ["a", "a"]
    assert kept.kept is not None and kept.kept.tolist() == [0, 1]
    assert checker.n_bad == 4


@pytest.mark.parametrize(
    ("column", "values", "row", "text"),
    [
        ("amount", ["1", "2", "x7"], 2, "'x7', which is no number"),
        ("amount", ["1", "-inf", "3"], 1, "infinite"),
        ("time", ["2024-01-01", "2024-01-01", "tomorrow"], 2, "'tomorrow', which is no time"),
        ("user", ["a", None, "b"], 1, "is missing"),
    ],
)
def test_fail_names_file_column_row_and_what_to_do(
    tmp_path: Path, column: str, values: list[str | None], row: int, text: str
) -> None:
    good = {"user": ["a"] * 3, "time": ["2024-01-01"] * 3, "event": ["x"] * 3, "amount": ["1"] * 3}
    path = tmp_path / "shop.csv"
    pl.DataFrame({**good, column: values}).write_csv(path)
    with pytest.raises(DataError) as caught:
        check_events(EventSource.open(path), bad_rows="fail")
    message = str(caught.value)
    assert f"shop.csv, row {row} (line {row + 2}), column {column}" in message
    assert text in message
    assert "checks.bad_rows=drop" in message


@pytest.mark.parametrize(("limit", "fails"), [(3, True), (4, False), (0.5, True), (0.9, False), (None, False)])
def test_more_than_max_bad_is_an_error(limit: float | None, fails: bool) -> None:
    source = EventSource.from_frame(pl.DataFrame(ROWS))
    if fails:
        with pytest.raises(DataError, match="max_bad"):
            check_events(source, max_bad=limit)
    else:
        check_events(source, max_bad=limit)


def test_spikes_and_labels_are_told() -> None:
    frame = pl.DataFrame({"user": ["a"] * 10, "is_fraud": [0, 1] * 5, "event": ["x", None] * 5})
    schema = EventSchema.of(entity="user", time=None, categorical=["event", "is_fraud"], numeric=None)
    found = by_check(check_events(EventSource.from_frame(frame), schema=schema))
    assert found[("null spike", "event")] == (5, -1)
    assert found[("label among inputs", "is_fraud")] == (10, -1)


def test_one_missing_value_in_a_batch_is_no_spike_and_a_batch_of_them_is() -> None:
    schema = EventSchema.of(entity="user", time=None, categorical=["one", "many"], numeric=None)
    frame = pl.DataFrame({"user": ["a"] * 60, "one": [None] + ["x"] * 59, "many": [None] * 6 + ["x"] * 54})
    source = EventSource.from_frame(frame)
    checker = EventChecker(schema, source)
    for batch in source.batches(schema.columns, rows=6):
        checker.check(batch)
    found = by_check(checker.findings())
    assert found[("missing values", "one")] == (1, -1) and found[("null spike", "many")] == (6, -1)


def test_an_entity_that_is_not_a_number_is_missing(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1.5, float("nan"), 2.5], "event": ["x", "y", "x"]})
    frame.write_csv(tmp_path / "e.csv")
    schema = EventSchema.of(entity="user", time=None, categorical="event", numeric=None)
    for source in (EventSource.from_frame(frame), EventSource.open(tmp_path / "e.csv")):
        assert by_check(check_events(source, schema=schema))[("missing key", "user")] == (1, 1)
