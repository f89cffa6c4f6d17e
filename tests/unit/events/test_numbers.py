from pathlib import Path

import numpy as np
import polars as pl
import pytest

from anomaly.errors import DataError, SchemaError
from anomaly.events.checks import EventChecker
from anomaly.events.infer import infer_schema
from anomaly.events.numbers import plain, writing_of
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema
from anomaly.events.tabular import TableRoles, open_table, table_schema


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["4,63 €", "1.234,56 €", None, "-0,5 €", "1.000.000,00 €"], [4.63, 1234.56, None, -0.5, 1e6]),
        (["$4.63", "$1,234.56", "-$7", "$ 12"], [4.63, 1234.56, -7, 12]),
        (["1 234,5", "12", "1\u202f000,25"], [1234.5, 12, 1000.25]),
        (["0,125", "1,5"], [0.125, 1.5]),
        (["12 %", "3 %"], [12, 3]),
        (["5 EUR", "1'000 EUR"], [5, 1000]),
        (["1,234,567", "12"], [1234567, 12]),
    ],
)
def test_numbers_are_read(texts: list[str | None], numbers: list[float | None]) -> None:
    column = pl.Series("n", texts)
    mark = writing_of(column)
    assert mark is not None
    assert column.to_frame().select(plain(pl.col("n"), mark).cast(pl.Float64)).to_series().to_list() == numbers


@pytest.mark.parametrize(
    "texts",
    [
        ["1.5", "2"],  # plain
        ["1,234", "5,678"],  # thousands or thousandths
        ["1.234 €", "5 €"],
        ["1,5", "1.5"],  # of both kinds
        ["5 EUR", "5 USD"],  # the unit tells something
        ["#12", "#13"],
        ["030 123 456", "040 555 123"],
        ["1,5", "many"],
        ["192.168.1.1", "10.0.0.1"],
        ["100.001.001", "100.001.002"],  # names of sessions
        ["0101NYC", "0102NYC"],
        ["0012 USA", "0013 USA"],
        [None, None],
        ["", "1,5"],
    ],
)
def test_other_columns_stay_text(texts: list[str | None]) -> None:
    assert writing_of(pl.Series("n", texts, dtype=pl.String)) is None


def test_what_is_written_in_another_way_is_left_as_it_is() -> None:
    writing = writing_of(pl.Series("n", ["1,5", "1.234,56"]))
    assert writing is not None
    later = pl.DataFrame({"n": ["1.5", "15 USD", "1.234"]})
    assert later.select(plain(pl.col("n"), writing)).to_series().to_list() == ["1.5", "15 USD", "1234"]


def test_files_of_a_folder_write_numbers_alike(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('user,amount\na,"1.234,56"\n')
    (tmp_path / "b.csv").write_text("user,amount\nb,1.234\n")
    batch = pl.concat(EventSource.open(tmp_path).batches())
    assert batch["amount"].cast(pl.Float64).to_list() == [1234.56, 1234.0]
    (tmp_path / "c.csv").write_text('user,amount\nb,"1,234.5"\n')
    with pytest.raises(
        SchemaError, match=r"c\.csv: column amount is written with a decimal point, .*comma in .*a\.csv"
    ):
        EventSource.open(tmp_path)


def test_ids_and_texts_are_kept_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("item,kind\na,10%\nb,12%\n")
    source = EventSource.open(path)
    assert source.table(text=["kind"])["kind"].to_list() == ["10%", "12%"]
    assert source.textual(["kind"]) == {"kind"}
    assert next(source.with_text(["kind"]).batches())["kind"].to_list() == ["10%", "12%"]


@pytest.mark.parametrize("dtype", [pl.UInt32, pl.UInt64, pl.Int64])
def test_amounts_of_any_type_are_no_numbers_of_rows(dtype: pl.DataType) -> None:
    amounts = np.random.default_rng(0).permutation(1000) * 7
    frame = pl.DataFrame({"user": ["a", "b"] * 500, "time": np.arange(1000), "amount": pl.Series(amounts, dtype=dtype)})
    assert infer_schema(EventSource.from_frame(frame), EventSchema(time_unit="s")).numeric == ("amount",)


def test_receipts_of_twenty_digits_are_no_input(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,time,receipt\n" + "\n".join(f"{k % 9},{k},{10**20 + k}" for k in range(300)))
    assert infer_schema(EventSource.open(path), EventSchema(entity="user", time_unit="s")).numeric == ()
    assert "receipt" not in table_schema(open_table(path), TableRoles()).names("numeric")


def test_csv_of_a_bank(tmp_path: Path) -> None:
    rows = [f"{k % 7};0{1 + k % 9}.03.2025 12:00;{k},{k % 100:02} €" for k in range(1200)]
    path = tmp_path / "bank.csv"
    path.write_text("\ufeffKarte;Datum;Betrag\n" + "\n".join(rows), encoding="utf-8")
    source = EventSource.open(path)
    assert source.columns["Betrag"] == pl.Float64
    assert source.sample()["Betrag"].to_list()[101:103] == [101.01, 102.02]
    schema = infer_schema(source, EventSchema(entity="Karte"))
    assert (schema.numeric, schema.categorical) == (("Betrag",), ())
    path.write_text("\n".join(["Karte;Datum;Betrag", *rows, "1;01.03.2025;viel"]), encoding="utf-8")
    source = EventSource.open(path)
    with pytest.raises(DataError, match=r"line 1202.*column Betrag: holds 'viel', which is no number"):
        EventChecker(schema, source).check(next(source.batches()))
