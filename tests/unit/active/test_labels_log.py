"""The label log: it only grows, each key counts once, and what was returned is on the disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.active.labels import SCHEMA, Label
from anomaly.active.labels_file import import_labels, read_labels, write_labels
from anomaly.active.labels_log import LabelLog
from anomaly.active.leases import Leases
from anomaly.active.ledger import LEAD, Ledger
from anomaly.errors import ArtifactError, ConfigError, DataError


@pytest.fixture
def log(tmp_path):
    with LabelLog(tmp_path / "labels.sqlite") as log:
        yield log


def test_rows_come_back_as_they_were_written(log):
    label = Label(
        item="ü 7\n",
        verdict="anomalous",
        annotator="ann",
        typology="click_fraud",
        confidence=0.8,
        note="<b>&",
        source="chargeback",
        event_time=1,
        known_at=2,
        model_version="1",
        taken_at=5,
        chosen_at=6,
        policy="audit",
        probability=0.1,
        score_seen=True,
        duration_ms=4,
    )
    written = log.append(label)
    assert written.seq == 1 and written.recorded_at > 1.7e15
    assert replace(written, seq=0, recorded_at=0) == label
    assert log.read() == [written] and log.read(after=1) == []
    assert dict(log.frame().schema) == SCHEMA


def test_a_database_of_an_older_version_goes_on(tmp_path):
    path = tmp_path / "labels.sqlite"
    with LabelLog(path) as log:
        log.append(Label("a", "normal", "ann", key="k"))
        Leases(log).take("b", "bob")
    with sqlite3.connect(path) as old:
        for table, column in (("labels", "taken_at"), ("labels", "chosen_at"), ("leases", "chosen_at")):
            old.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    old.close()
    with LabelLog(path, read_only=True) as log:
        assert [(row.item, row.chosen_at) for row in log.read()] == [("a", None)]
    with LabelLog(path) as log:
        assert [(row.item, row.chosen_at) for row in log.read()] == [("a", None)]
        assert [lease.chosen_at for lease in Leases(log).held()] == [None]
        assert log.append(Label("c", "normal", "ann", chosen_at=7)).seq == 2
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), sqlite3.connect(path) as raw:
            raw.execute("DELETE FROM labels")
    with LabelLog(path, read_only=True) as log:
        assert [row.chosen_at for row in log.read()] == [None, 7]


def test_a_key_counts_once(log):
    label = Label("a", "normal", "ann", key="k")
    assert log.append(label) == log.append(replace(label, verdict="anomalous"))
    assert [row.verdict for row in log.read()] == ["normal"]
    with pytest.raises(DataError, match="key=k"):
        log.append(Label("b", "normal", "ann", key="k"))


def test_rows_are_written_together_or_not_at_all(log):
    with pytest.raises(DataError, match="supersedes=9"):
        log.extend([Label("a", "normal", "ann"), Label("a", "normal", "ann", supersedes=9)])
    assert log.read() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE labels SET verdict = 'anomalous'",
        "DELETE FROM labels",
        "INSERT OR REPLACE INTO labels SELECT * FROM labels",
        "UPDATE labels SET seq = 5",
    ],
)
def test_the_database_itself_refuses_to_change_rows(log, tmp_path, statement):
    log.append(Label("a", "normal", "ann"))
    connection = sqlite3.connect(tmp_path / "labels.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert [row.verdict for row in log.read()] == ["normal"]


def test_the_file_is_flushed_in_full(log):
    with log.engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]


def test_sessions_of_one_database_are_apart(tmp_path):
    with LabelLog(tmp_path / "l", session="one") as one:
        one.append(Label("a", "normal", "ann", key="k"))
    with LabelLog(tmp_path / "l", session="two") as two:
        assert two.read() == []
        two.append(Label("b", "normal", "ann", key="k"))
        assert [row.item for row in two.read()] == ["b"]


def test_one_process_writes_and_others_read(tmp_path):
    path = tmp_path / "labels.sqlite"
    with LabelLog(path) as log:
        log.append(Label("a", "normal", "ann"))
        with pytest.raises(ArtifactError, match="another labelling session"):
            LabelLog(path)
        with LabelLog(path, read_only=True) as reader:
            assert len(reader.read()) == 1
    with LabelLog(path) as log:
        assert len(log.read()) == 1


def test_who_only_reads_writes_nothing(tmp_path):
    path = tmp_path / "labels.sqlite"
    with pytest.raises(ArtifactError, match="no labels yet"):
        LabelLog(path, read_only=True)
    assert list(tmp_path.iterdir()) == []
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match="no labels yet"):
        LabelLog(path, read_only=True)
    assert path.read_bytes() == before
    path.unlink()
    with LabelLog(path) as log:
        log.append(Label("a", "normal", "ann"))
    with LabelLog(path, read_only=True) as reader, pytest.raises(ArtifactError):
        reader.append(Label("b", "normal", "ann"))


def test_threads_share_one_log(log):
    threads = [
        threading.Thread(target=lambda k=k: [log.append(Label(f"{k}-{i}", "normal", f"a{k}")) for i in range(20)])
        for k in range(6)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    rows = log.read()
    assert sorted(row.seq for row in rows) == list(range(1, 121))
    assert len({row.item for row in rows}) == 120


def test_what_was_returned_survives_a_kill(tmp_path):
    code = (
        "import os, signal, sys; from anomaly.active.labels import Label; "
        "from anomaly.active.labels_log import LabelLog; log = LabelLog(sys.argv[1]); "
        "rows = [log.append(Label(str(i), 'normal', 'ann')) for i in range(5)]; "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "l")], check=False)
    assert done.returncode == -9
    with LabelLog(tmp_path / "l") as log:
        assert [row.item for row in log.read()] == list("01234")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"verdict": "odd"}, "verdict=odd"),
        ({"confidence": 2.0}, "confidence=2"),
        ({"probability": 0.0}, "probability=0"),
        ({"source": "rumour"}, "source=rumour"),
        ({"annotator": ""}, "needs an item"),
        ({"note": "a\0b"}, "NUL"),
    ],
)
def test_a_wrong_label_is_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        Label(**{"item": "a", "verdict": "normal", "annotator": "ann", **wrong})


@pytest.mark.parametrize("url", ["mysql://a:secret@b/c", "nonsense://x"])
def test_a_wrong_url_is_one_line_without_its_password(url):
    with pytest.raises(ConfigError) as caught:
        LabelLog(url)
    assert "secret" not in str(caught.value)


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "l").write_text("no database " * 1000)
    with pytest.raises(ArtifactError, match="cannot be opened"):
        LabelLog(tmp_path / "l")
    with pytest.raises(ArtifactError, match="no folder"):
        LabelLog(tmp_path / "none" / "l")


def test_a_database_that_fails_in_the_middle_is_one_line(log):
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE leases")
    for fails in (Leases(log).held, lambda: Leases(log).take("a", "ann"), lambda: Leases(log).release("ann")):
        with pytest.raises(ArtifactError, match="does not answer") as caught:
            fails()
        assert "\n" not in str(caught.value)
    assert log.append(Label("a", "normal", "ann")).seq == 1


def stood(rows: list[Label]) -> list[tuple[str, str]]:
    return [(row.item, row.verdict) for row in Ledger.of(rows).decisions()]


def test_corrections_stand_and_undoing_brings_back_what_they_corrected():
    rows = [Label("a", "normal", "ann", seq=1), Label("a", "anomalous", "ann", seq=2, supersedes=1)]
    assert stood(rows) == [("a", "anomalous")]
    rows.append(Label("a", "unsure", "ann", seq=3, supersedes=2))
    assert stood(rows) == [("a", "unsure")]
    rows.append(Label("a", "withdrawn", "ann", seq=4, supersedes=3))
    assert stood(rows) == [("a", "anomalous")]
    rows.append(Label("a", "withdrawn", "ann", seq=5, supersedes=2))
    assert stood(rows) == [("a", "normal")]
    rows.append(Label("a", "withdrawn", "ann", seq=6, supersedes=1))
    assert stood(rows) == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("text", ["007", "1.50", "1e5", "true", "null", " a ", '""', "a\r\nb", "2024-01-05"])
def test_text_that_looks_like_something_else_comes_back_as_it_is(log, tmp_path, suffix, text):
    log.append(Label(text, "anomalous", text, key=text, typology=text, note=text, model_version=text, policy=text))
    assert read_labels(write_labels(log.read(), tmp_path / f"out{suffix}")) == log.read()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_log_goes_out_and_comes_back(log, tmp_path, suffix):
    log.append(Label("001", "normal", "ann", note='a "quoted", line\nand another', known_at=5_000_001))
    log.append(Label("001", "anomalous", "ann", supersedes=1, confidence=0.5, typology="=1+1"))
    log.append(Label("2", "skipped", "bob"))
    path = write_labels(log.read(), tmp_path / f"out{suffix}")
    with LabelLog(tmp_path / "other") as other:
        other.append(Label("x", "normal", "eve"))
        assert import_labels(other, read_labels(path)) == 3
        assert import_labels(other, read_labels(path)) == 0
        expected, found = log.frame(), other.frame()[1:]
    assert found.drop("seq", "supersedes").equals(expected.drop("seq", "supersedes"))
    assert found["supersedes"].to_list() == [None, 2, None]


def test_a_file_that_supersedes_what_it_does_not_hold_is_refused_as_a_whole(log):
    with pytest.raises(DataError, match="supersedes=7"):
        import_labels(log, [Label("a", "normal", "ann", seq=1), Label("a", "normal", "ann", seq=2, supersedes=7)])
    assert log.read() == []


def test_standing_labels_go_out_as_a_table_that_others_read(log, tmp_path):
    log.extend([Label("a", "normal", "ann"), Label("b", "unsure", "ann"), Label("c", "skipped", "ann")])
    table = pl.read_parquet(write_labels(log.read(), tmp_path / "out.parquet", everything=False))
    assert table.select("item", "label").rows() == [("a", 0), ("b", -1)]
    with pytest.raises(DataError, match=r"\.parquet or \.csv"):
        write_labels(log.read(), tmp_path / "out.xlsx", everything=False)


def test_of_an_item_that_several_judged_the_word_that_counts_goes_out(log, tmp_path):
    log.extend([Label("a", "normal", "ann"), Label("a", "normal", "bob"), Label("b", "normal", "ann")])
    log.extend([Label("b", "anomalous", "bob"), Label("c", "normal", "ann"), Label("c", "anomalous", "bob")])
    log.append(Label("c", "anomalous", "eve", policy=LEAD))
    log.append(Label("d", "normal", "ann", key="first"))
    log.append(Label("d", "anomalous", "ann", supersedes=8))
    path = write_labels(log.read(), tmp_path / "out.parquet", everything=False)
    assert pl.read_parquet(path).select("item", "label").rows() == [("a", 0), ("c", 1), ("d", 1)]
    with LabelLog(tmp_path / "other") as other:
        assert import_labels(other, read_labels(path)) == 3


@pytest.mark.parametrize("column", ["item", "sequence", "id"])
def test_an_id_comes_in_as_it_is_written(tmp_path, column):
    (tmp_path / "in.csv").write_text(f"{column},label\n007,1\n8.0,0\n")
    assert [row.item for row in read_labels(tmp_path / "in.csv")] == ["007", "8.0"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("in.csv", "sequence;label\n007;1\n8;0\n"),
        ("in.tsv", "sequence\tlabel\n007\ttrue\n8\tfalse\n"),
        ("in.jsonl", '{"sequence": "007", "label": 1}\n{"sequence": "8", "label": 0}\n'),
        ("in.csv", "\ufeffsequence,verdict\n007,anomalous\n8,normal\n"),
    ],
)
def test_labels_come_in_whatever_events_come_in(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    rows = read_labels(tmp_path / name)
    assert [(row.item, row.verdict) for row in rows] == [("007", "anomalous"), ("8", "normal")]


@pytest.mark.parametrize(
    "told",
    [
        "2024-01-05T09:00:00Z",
        "2024-01-05 10:00",
        "2024-01-05T10:00:00+01:00",
        "05.01.2024 10:00",
        "1704445200",
        "1704445200000",
        "1704445200000000",
    ],
)
def test_times_come_in_as_events_do(tmp_path, told):
    (tmp_path / "in.csv").write_text(f"item,label,known_at\na,1,{told}\nb,0,\n")
    rows = read_labels(tmp_path / "in.csv", timezone="Europe/Berlin")
    assert [row.known_at for row in rows] == [1_704_445_200_000_000, None]


def test_labels_of_others_come_in_once(log, tmp_path):
    table = pl.DataFrame({"sequence": [7, 8], "label": [1, 0], "typology": ["x", None]})
    table.write_parquet(tmp_path / "in.parquet")
    for expected in (2, 0):
        rows = read_labels(tmp_path / "in.parquet", annotator="bank", source="chargeback")
        assert import_labels(log, rows) == expected
    first = log.read()[0]
    assert (first.item, first.verdict, first.typology, first.source) == ("7", "anomalous", "x", "chargeback")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [1]}, "expected a column item"),
        ({"item": ["a"], "label": [3]}, "row 1: label=3"),
        ({"item": ["a", "b"], "label": [1.0, 0.5]}, "row 2: label=0.5"),
        ({"item": ["a"], "label": [float("nan")]}, "row 1: label=nan"),
        ({"item": ["a", "b"], "verdict": ["normal", "odd"]}, "row 2: verdict=odd"),
        ({"item": [None], "label": [1]}, "row 1: has no item"),
        ({"item": ["a"], "label": [1], "known_at": ["yesterday"]}, "column known_at"),
    ],
)
def test_a_wrong_file_names_the_row(tmp_path, table, message):
    pl.DataFrame(table).write_parquet(tmp_path / "in.parquet")
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "in.parquet")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["normal", "anomalous", "undo"])), max_size=25))
def test_undoing_step_by_step_equals_never_having_said_it(steps):
    rows: list[Label] = []
    said: list[tuple[str, str]] = []
    alive: list[int] = []
    for item, what in steps:
        seq = len(rows) + 1
        if what != "undo":
            before = [rows[s - 1] for s in alive if rows[s - 1].item == item]
            rows.append(Label(item, what, "ann", seq=seq, supersedes=before[-1].seq if before else None))
            alive.append(seq)
            said.append((item, what))
        elif alive:
            last = rows[alive.pop() - 1]
            said.pop()
            rows.append(Label(last.item, "withdrawn", "ann", seq=seq, supersedes=last.seq))
    assert sorted(stood(rows)) == sorted(dict(said).items())
