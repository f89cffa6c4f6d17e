import gzip
from pathlib import Path

import polars as pl
import pytest

from anomaly.commands.files import read_table
from anomaly.errors import DataError


def test_ids_with_leading_zeros_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("sequence,no,label,sure\n007,1,1,true\n8,20,0,\n")
    table = read_table(tmp_path / "labels.csv", "labels")
    assert table.columns == ["sequence", "no", "label", "sure"]
    assert table.rows() == [("007", 1, 1, True), ("8", 20, 0, None)]


@pytest.mark.parametrize(("name", "text", "why"), [("a.csv", "", "empty file"), ("b.csv", "x\n", "no rows")])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"labels=.*{name}: {why}"):
        read_table(tmp_path / name, "labels")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "sequence;label\n007;1\n8;0\n"),
        ("l.csv", "\ufeffsequence\tlabel\n007\t1\n8\t0\n"),
        ("l.tsv", "sequence\tlabel\n007\t1\n8\t0\n"),
        ("l.csv.gz", "sequence,label\n007,1\n8,0\n"),
        ("l.jsonl", '{"sequence": "007", "label": 1}\n{"sequence": "8", "label": 0}\n'),
    ],
)
def test_a_table_comes_in_whatever_events_come_in(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "d" / name
    path.parent.mkdir()
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    for place in (path, path.parent, tmp_path / "d" / "l.*"):
        assert read_table(place, "labels").rows() == [("007", 1), ("8", 0)]


def test_every_column_is_what_all_its_rows_are(tmp_path: Path) -> None:
    rows = [("a", "1", "1", "1.5", "True", "7", "9" * 20, ""), ("b", "-1", "0.5", "1e3", "false", "x", "1", "")]
    lines = ["id,whole,mixed,number,flag,text,long,empty", *(",".join(row) for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = read_table(tmp_path / "t.csv", "labels")
    assert table.rows() == [("a", 1, 1.0, 1.5, True, "7", 10**20 - 1, None), ("b", -1, 0.5, 1e3, False, "x", 1, None)]
    assert table["whole"].dtype == pl.Int64
    (tmp_path / "t.csv").write_text("label\n" + "1\n" * 60_000 + "0.5\n")
    assert read_table(tmp_path / "t.csv", "labels")["label"][-1] == 0.5
