from pathlib import Path

import polars as pl
import pytest

from anomaly.errors import DataError
from anomaly.events.checks import EventChecker
from anomaly.events.infer import infer_schema
from anomaly.events.numbers import decimal_mark, plain
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema


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
    mark = decimal_mark(column)
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
        [None, None],
        ["", "1,5"],
    ],
)
def test_other_columns_stay_text(texts: list[str | None]) -> None:
    assert decimal_mark(pl.Series("n", texts, dtype=pl.String)) is None


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
