from pathlib import Path

import pytest

from anomaly.commands.files import read_table
from anomaly.errors import DataError


def test_ids_with_leading_zeros_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("sequence,no,label,sure\n007,1,1,true\n8,20,0,\n")
    table = read_table(tmp_path / "labels.csv", "labels")
    assert table.columns == ["sequence", "no", "label", "sure"]
    assert table.rows() == [("007", 1, 1, True), ("8", 20, 0, None)]


@pytest.mark.parametrize(("name", "text", "why"), [("a.csv", "", "cannot be read"), ("b.csv", "x\n", "no rows")])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"labels=.*{name}: {why}"):
        read_table(tmp_path / name, "labels")
