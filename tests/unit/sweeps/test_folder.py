from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from anomaly.errors import ConfigError, DataError, SchemaError
from anomaly.sweeps.folder import find_folders, read_folder

HEAD = """
role: {role}
events: {{entity: user, sequence: session, time: time, id: row, categorical: [event], numeric: []}}
level: {level}
labels: {{id: {key}}}
"""


def write(folder: Path, more: str = "", *, level: str = "sequence", role: str = "benchmark") -> Path:
    folder.mkdir(parents=True)
    pl.DataFrame(
        {
            "user": ["a", "a", "b", "b", "b"],
            "session": ["s1", "s1", "s2", "s2", "s3"],
            "time": [datetime(2024, 5, day) for day in (1, 2, 3, 4, 5)],
            "row": [10, 11, 12, 13, 14],
            "event": ["x", "y", "x", "x", "z"],
            "secret": [0, 0, 0, 0, 1],
        }
    ).write_parquet(folder / "events.parquet")
    labels = pl.DataFrame({"session": ["s1", "s2", "s3"], "label": [0, None, 1], "split": ["train", "train", "test"]})
    labels.write_parquet(folder / "labels.parquet")
    pl.DataFrame({"row": [10, 14], "label": [0, 1]}).write_parquet(folder / "event_labels.parquet")
    key = "row" if level == "event" else "session"
    (folder / "dataset.yaml").write_text(HEAD.format(role=role, level=level, key=key) + more)
    return folder


def test_all_rows_are_read_where_nothing_is_said(tmp_path: Path) -> None:
    folder = read_folder(write(tmp_path / "set"))
    events = folder.read_events()
    assert folder.rows(events, folder.fit).height == 5
    assert folder.scores_what_it_fits
    assert folder.history is None
    assert folder.name == "set"


def test_only_stated_columns_are_read_and_unnamed_roles_are_none(tmp_path: Path) -> None:
    folder = read_folder(write(tmp_path / "set", "fit: {split: train}"))
    assert folder.rows(folder.read_events(), folder.fit).columns == ["user", "session", "time", "row", "event"]
    assert folder.events["order"] is None


def test_a_split_is_taken_from_the_labels_without_their_label(tmp_path: Path) -> None:
    folder = read_folder(write(tmp_path / "set", "fit: {split: train}\nscore: {split: test}"))
    events = folder.read_events()
    assert "label" not in events.columns
    assert folder.rows(events, folder.fit)["session"].to_list() == ["s1", "s1", "s2", "s2"]
    assert folder.rows(events, folder.score)["session"].to_list() == ["s3"]
    assert not folder.scores_what_it_fits


def test_dates_divide_the_rows(tmp_path: Path) -> None:
    more = "fit: {before: 2024-05-03}\nscore: {from: '2024-05-03', before: 2024-05-05}"
    folder = read_folder(write(tmp_path / "set", more))
    events = folder.read_events()
    assert folder.rows(events, folder.fit)["row"].to_list() == [10, 11]
    assert folder.rows(events, folder.score)["row"].to_list() == [12, 13]


def test_dates_are_read_as_utc_where_times_have_a_zone(tmp_path: Path) -> None:
    path = write(tmp_path / "set", "fit: {before: 2024-05-03}")
    events = pl.read_parquet(path / "events.parquet").with_columns(pl.col("time").dt.replace_time_zone("UTC"))
    events.write_parquet(path / "events.parquet")
    folder = read_folder(path)
    assert folder.rows(folder.read_events(), folder.fit).height == 2


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", None])
def test_dates_without_a_clock_and_as_text_divide_the_rows(tmp_path: Path, form: str | None) -> None:
    path = write(tmp_path / "set", "fit: {before: 2024-05-03}\nscore: {from: 2024-05-03}")
    days = pl.col("time").dt.date() if form is None else pl.col("time").dt.strftime(form)
    missing = pl.when(pl.col("row") == 12).then(None).otherwise(days).alias("time")
    pl.read_parquet(path / "events.parquet").with_columns(missing).write_parquet(path / "events.parquet")
    folder = read_folder(path)
    events = folder.read_events()
    assert folder.rows(events, folder.fit)["row"].to_list() == [10, 11]
    assert folder.rows(events, folder.score)["row"].to_list() == [13, 14]


def test_numbers_divide_the_rows_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "set", "fit: {before: 12}")
    pl.read_parquet(path / "events.parquet").with_columns(time="row").write_parquet(path / "events.parquet")
    folder = read_folder(path)
    assert folder.rows(folder.read_events(), folder.fit)["row"].to_list() == [10, 11]


def test_unknown_labels_are_minus_one(tmp_path: Path) -> None:
    folder = read_folder(write(tmp_path / "set"))
    assert folder.read_labels().rows() == [("s1", 0), ("s2", -1), ("s3", 1)]
    assert read_folder(write(tmp_path / "events", level="event")).read_labels()["item"].to_list() == [10, 14]


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_folder(tmp_path)
    with pytest.raises(ConfigError, match="fit is all or a mapping"):
        read_folder(write(tmp_path / "a", "fit: {until: 2024-05-03}"))
    path = write(tmp_path / "d", "fit: {before: May}")
    with pytest.raises(ConfigError, match=r"dataset\.yaml: 'May' is no time"):
        read_folder(path).rows(read_folder(path).read_events(), read_folder(path).fit)
    (path / "dataset.yaml").write_text("events: {entity: user, sequence: session}\nlabels: {label: secret}")
    with pytest.raises(ConfigError, match=r"dataset\.yaml: labels\.id is missing"):
        read_folder(path)
    folder = read_folder(write(tmp_path / "b", "fit: {split: nowhere}"))
    with pytest.raises(DataError, match="no row is"):
        folder.rows(folder.read_events(), folder.fit)
    path = write(tmp_path / "c")
    pl.read_parquet(path / "events.parquet").drop("event").write_parquet(path / "events.parquet")
    with pytest.raises(SchemaError, match="no column event"):
        read_folder(path).read_events()


def test_folders_are_found_by_role_or_name(tmp_path: Path) -> None:
    write(tmp_path / "two")
    write(tmp_path / "one")
    write(tmp_path / "quick", role="smoke")
    assert [f.name for f in find_folders(tmp_path)] == ["one", "two"]
    assert [f.name for f in find_folders(tmp_path, ["quick", "one"])] == ["quick", "one"]
    with pytest.raises(ConfigError, match="no set three"):
        find_folders(tmp_path, ["three"])
