import gzip
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.errors import DataError, SchemaError
from anomaly.events.readers import EventSource

FRAME = pl.DataFrame({"user": [1, 2, 1, 3], "event": ["a", "b", None, "ü,x"], "amount": [1.5, None, 0.0, -2.0]})


def write(folder: Path, kind: str, frame: pl.DataFrame = FRAME, name: str = "events") -> Path:
    path = folder / f"{name}.{kind}"
    if kind == "csv":
        frame.write_csv(path)
    elif kind == "ndjson":
        frame.write_ndjson(path)
    elif kind == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_ipc(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "arrow"])
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    source = EventSource.open(write(tmp_path, kind))
    assert source.n_rows == 4
    assert source.columns == dict(FRAME.schema)
    for _ in range(2):
        whole = pl.concat(list(source.batches(rows=2)))
        typed = whole.with_columns(pl.col("user").cast(pl.Int64), pl.col("amount").cast(pl.Float64))
        assert typed.equals(FRAME)
    assert [b.columns for b in source.batches(["event"])] == [["event"]]
    assert source.sample().equals(FRAME)
    assert source.describe()["rows"] == 4


def test_folders_and_globs_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, "parquet", FRAME.tail(2), "b")
    write(tmp_path, "parquet", FRAME.head(2), "a")
    for path in (tmp_path, tmp_path / "*.parquet"):
        source = EventSource.open(path)
        assert pl.concat(list(source.batches())).equals(FRAME)
        assert source.locate(3).endswith("b.parquet, row 1")


def test_hidden_files_of_a_folder_are_none_of_it(tmp_path: Path) -> None:
    """As a glob leaves them out: drafts that a killed process left, and what editors and other systems put there."""
    write(tmp_path, "parquet")
    (tmp_path / "._events.parquet").write_bytes(b"Mac OS X")
    (tmp_path / ".checkpoints").mkdir()
    write(tmp_path / ".checkpoints", "parquet")
    assert pl.concat(list(EventSource.open(tmp_path).batches())).equals(FRAME)


def test_large_files_stream_in_file_order(tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": np.arange(50_000)})
    path = tmp_path / "k.parquet"
    frame.write_parquet(path, row_group_size=3_000)
    batches = list(EventSource.open(path).batches(rows=7_000))
    assert len(batches) > 3
    assert pl.concat(batches).equals(frame)


def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,b\n")
    (tmp_path / "data.xls").write_text("x")
    (tmp_path / "broken.parquet").write_text("not parquet at all")
    (tmp_path / "cut.ndjson").write_text('{"a": 1}\n\n{"a": ')
    (tmp_path / "array.ndjson").write_text('[{"a": 1}]')
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    for name, text in [
        ("nope.csv", "no such file"),
        ("empty.csv", "empty file"),
        ("header.csv", "no rows"),
        ("data.xls", "unknown type"),
        ("broken.parquet", "cannot be read"),
        ("cut.ndjson", "line 3 is no JSON object"),
        ("array.ndjson", "line 1 is no JSON object"),
        ("ragged.csv", r"line \d+ has \d fields, the header \d; put text"),
    ]:
        with pytest.raises(DataError, match=text) as caught:
            list(EventSource.open(tmp_path / name).batches())
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no CSV"):
        EventSource.open(tmp_path)


def test_differing_columns_name_the_file(tmp_path: Path) -> None:
    write(tmp_path, "parquet", FRAME, "a")
    write(tmp_path, "parquet", FRAME.drop("amount"), "b")
    with pytest.raises(SchemaError, match=r"b\.parquet: columns differ .*amount; give all"):
        EventSource.open(tmp_path)
    write(tmp_path, "parquet", FRAME.with_columns(pl.col("user").cast(pl.String)), "b")
    with pytest.raises(SchemaError, match=r"column user is String, but Int64.*write it alike"):
        EventSource.open(tmp_path)


NESTED = [
    '{"ts": 1, "visitor": {"id": "a", "home": {"country": "DE"}}, "item": {"sku": "s1", "price": 2}}',
    '{"ts": 2, "visitor": {"id": "b"}, "tags": ["x"]}',
]


def test_fields_of_nested_records_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    path.write_text("\n".join(NESTED))
    flat = ["ts", "visitor.id", "visitor.home.country", "item.sku", "item.price"]
    for source in (EventSource.open(path), EventSource.from_frame(pl.read_ndjson(path))):
        assert list(source.columns) == [*flat, "tags"]
        rows = pl.concat(list(source.batches(flat, rows=1))).rows()
        assert rows == [(1, "a", "DE", "s1", 2), (2, "b", None, None, None)]
    with pytest.raises(SchemaError, match=r"^frame: column v\.id is there twice: as a field of a record too$"):
        EventSource.from_frame(pl.DataFrame({"v": [{"id": 1}], "v.id": [2]}))
    (tmp_path / "clash.ndjson").write_text('{"a": {"b": 1}, "a.b": 2}')
    with pytest.raises(DataError, match=r"clash\.ndjson: cannot be read .*a\.b"):
        EventSource.open(tmp_path / "clash.ndjson")


def test_json_of_several_days_may_lack_keys_and_have_whole_numbers_only(tmp_path: Path) -> None:
    # JSON tells no types and leaves keys out, so what is guessed of a day need not hold for all.
    (tmp_path / "1.ndjson").write_text("\n".join(NESTED))
    (tmp_path / "2.ndjson").write_text('{"ts": 3, "visitor": {"id": "c"}, "item": {"price": 2.5}, "coupon": "k"}')
    source = EventSource.open(tmp_path)
    assert source.columns["item.price"] == pl.Float64 and source.columns["item.sku"] == pl.String
    rows = source.head(3)
    assert rows["item.price"].to_list() == [2.0, None, 2.5] and rows["coupon"].to_list() == [None, None, "k"]
    assert source.locate(2).endswith("2.ndjson, row 0") and source.n_rows == 3


def test_fingerprint_follows_the_data(tmp_path: Path) -> None:
    one, two = EventSource.from_frame(FRAME), EventSource.from_frame(FRAME.reverse())
    assert one.fingerprint() == EventSource.from_frame(FRAME.clone()).fingerprint() != two.fingerprint()
    odd = FRAME.with_columns(pause=pl.duration(seconds="user"), raw=pl.lit(b"\xff"))
    other = odd.with_columns(pause=pl.duration(seconds=1))
    assert EventSource.from_frame(odd).fingerprint() != EventSource.from_frame(other).fingerprint()
    path = write(tmp_path, "parquet")
    before = EventSource.open(path).fingerprint()
    assert before == EventSource.open(path).fingerprint()
    write(tmp_path, "parquet", FRAME.reverse())
    assert EventSource.open(path).fingerprint() != before


def test_ids_that_only_begin_with_numbers_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly.events.files._INFER_ROWS", 2)
    (tmp_path / "e.csv").write_text("user,case,no,ok,amount\n1,01,1,true,1.5\n2,02,2,false,\nx3,03,,true,oops\n")
    source = EventSource.open(tmp_path / "e.csv")
    kinds = [str(dtype) for dtype in source.columns.values()]
    assert kinds == ["Int64", "Int64", "Int64", "String", "Float64"]
    assert source.textual(source.columns) == {"user", "case", "amount"}
    settled = source.with_text(source.textual(["user", "case", "no"]))
    assert [str(dtype) for dtype in settled.columns.values()] == ["String", "String", "Int64", "String", "Float64"]
    assert settled.sample()["case"].to_list() == ["01", "02", "03"]
    assert EventSource.from_frame(FRAME).textual(["user"]) == set()


class Column:
    """What a pandas column offers, for want of pandas."""

    def __init__(self, values: list[Any], dtype: Any) -> None:
        self.values: np.ndarray[Any, Any] = np.array(values, dtype)

    def to_numpy(self) -> Any:
        return self.values

    def isna(self) -> "Column":
        return Column([v is None or v != v for v in self.values], bool)


class Frame(dict[str, Column]):
    """What a pandas frame offers."""

    columns = property(lambda self: list(self))
    dtypes = property(lambda self: {name: column.values.dtype for name, column in self.items()})


def test_pandas_frames_are_read() -> None:
    columns = {
        "user": Column([1, 2], int),
        "amount": Column([1.5, np.nan], float),
        "event": Column(["a", None], object),
    }
    rows = EventSource.from_frame(Frame(columns)).sample().rows()
    assert rows == [(1, 1.5, "a"), (2, None, None)]
    with pytest.raises(DataError, match="expected a path"):
        EventSource.from_frame([1, 2])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_pandas_are_read_whatever_their_unit(unit: str) -> None:
    columns = {
        "time": Column(["2025-03-01T12:00:00", "NaT"], f"datetime64[{unit}]"),
        "pause": Column([90_000, "NaT"], f"timedelta64[{unit}]"),
    }
    pause = timedelta(microseconds=int(np.timedelta64(90_000, unit) / np.timedelta64(1, "us")))
    rows = EventSource.from_frame(Frame(columns)).sample().rows()
    assert rows == [(datetime(2025, 3, 1, 12), pause), (None, None)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz"])
def test_the_separator_of_csv_is_told_from_its_first_line(tmp_path: Path, separator: str, name: str) -> None:
    frame = FRAME.rename({"event": "event; or, what"})
    text = frame.write_csv(separator=separator, quote_style="non_numeric").encode("utf-8")
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    source = EventSource.open(tmp_path / name)
    assert source.columns == dict(frame.schema) and source.sample().equals(frame)


def test_csv_of_one_column_has_no_separator(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("a\n1\n2\n")
    assert EventSource.open(tmp_path / "one.csv").sample()["a"].to_list() == [1, 2]


def test_a_file_of_another_encoding_says_so(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("user,event\nmüller,a\n".encode("latin-1"))
    with pytest.raises(DataError, match="save it as UTF-8"):
        EventSource.open(tmp_path / "latin.csv").sample()
