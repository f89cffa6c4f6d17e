"""The label log on a real PostgreSQL server: a private cluster in a temporary folder, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from anomaly.active.items import Items
from anomaly.active.kernel import ItemKernel
from anomaly.active.labels import Label
from anomaly.active.labels_log import LabelLog
from anomaly.active.learner import ActiveLearner
from anomaly.active.leases import Leases
from anomaly.active.ledger import BLIND
from anomaly.active.residual_gp import ResidualGP
from anomaly.active.session import LabelSession
from anomaly.base import FeatureMatrix
from anomaly.errors import ArtifactError, DataError


def programs() -> Path | None:
    """Return where initdb and pg_ctl are: on the path, or where Debian puts them."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders and (folders[-1] / "pg_ctl").exists() else None


def plain_user() -> list[str]:
    """Return what runs a command as somebody who is not root, whom initdb refuses."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no setpriv to run it as another")
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    where = programs()
    if where is None:
        pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
    as_user = plain_user()
    folder = Path(tempfile.mkdtemp(prefix="labels-pg-", dir="/tmp"))
    try:
        if as_user:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def run(*command: str) -> None:
            environment = {"PATH": f"{where}:/usr/bin:/bin", "LC_ALL": "C", "HOME": str(folder)}
            # A pipe would stay open as long as the server runs.
            with (folder / "commands.log").open("ab") as log:
                done = subprocess.run([*as_user, *command], cwd=folder, env=environment, stdout=log, stderr=log)
            assert done.returncode == 0, (folder / "commands.log").read_text()

        data, options = str(folder / "data"), f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        run("initdb", "-D", data, "-U", "labels", "-A", "trust", "--no-sync", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(folder / "server.log"), "start")
        try:
            yield f"postgresql://labels@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert not folder.exists()


@pytest.fixture
def log(server: str, request: pytest.FixtureRequest) -> Iterator[LabelLog]:
    with LabelLog(server, session=request.node.name) as log:
        yield log


def test_rows_come_back_and_keys_count_once(log: LabelLog) -> None:
    label = Label(
        "ü 7", "anomalous", "ann", key="k", note="a 'quoted' %s", known_at=5, probability=0.5, score_seen=True
    )
    written = log.append(label)
    assert log.append(label) == written and log.read() == [written]
    with pytest.raises(DataError, match="key=k"):
        log.append(Label("b", "normal", "ann", key="k"))
    log.append(Label("ü 7", "normal", "ann", supersedes=written.seq))
    assert [row.supersedes for row in log.read()] == [None, written.seq]
    assert log.frame()["known_at"].dt.timestamp("us").to_list() == [5, None]


def test_a_database_of_an_older_version_goes_on(server: str) -> None:
    with LabelLog(server, session="old") as log:
        log.append(Label("a", "normal", "ann"))
        with log.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE labels DROP COLUMN taken_at, DROP COLUMN chosen_at")
            connection.exec_driver_sql("ALTER TABLE leases DROP COLUMN chosen_at")
    with LabelLog(server, session="old") as log:
        log.append(Label("b", "normal", "ann", chosen_at=7))
        assert [row.chosen_at for row in log.read()] == [None, 7]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE labels SET verdict = 'normal'", "DELETE FROM labels", "TRUNCATE labels", "TRUNCATE labels CASCADE"],
)
def test_the_database_itself_refuses_to_change_rows(log: LabelLog, statement: str) -> None:
    from sqlalchemy.exc import IntegrityError

    log.append(Label("a", "anomalous", "ann"))
    with pytest.raises(IntegrityError, match="append-only"), log.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert [row.verdict for row in log.read()] == ["anomalous"]


def test_first_starts_at_once_make_the_tables_once(server: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    for name in ("first", "second", "third"):
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        where, wrong, start = server.replace("/postgres", f"/{name}"), [], threading.Barrier(6)

        def open_one(where: str = where, wrong: list[str] = wrong, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                LabelLog(where, session="s").close()
            except ArtifactError as error:
                wrong.append(str(error))

        threads = [threading.Thread(target=open_one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    engine.dispose()


def test_servers_share_a_log_and_none_misses_a_row(log: LabelLog, server: str) -> None:
    logs = [LabelLog(server, session=log.session) for _ in range(4)]
    seen: list[int] = []

    def write(k: int) -> None:
        for i in range(15):
            logs[k].append(Label(f"{k}-{i}", "normal", f"a{k}"))

    def follow() -> None:
        while len(seen) < 60:
            seen.extend(row.seq for row in log.read(seen[-1] if seen else 0))

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)] + [threading.Thread(target=follow)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for other in logs:
        other.close()
    assert seen == sorted(set(seen)) and len(seen) == 60


def test_one_of_many_gets_a_case(log: LabelLog, server: str) -> None:
    logs = [LabelLog(server, session=log.session) for _ in range(4)]
    taken: list[str] = []

    def grab(k: int) -> None:
        for i in range(10):
            if Leases(logs[k]).take(f"s{i}", f"a{k}") is not None:
                taken.append(f"s{i}")

    threads = [threading.Thread(target=grab, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for other in logs:
        other.close()
    assert sorted(taken) == [f"s{i}" for i in range(10)] == sorted(lease.item for lease in Leases(log).held())


def test_two_servers_hold_one_session(log: LabelLog, server: str) -> None:
    def begin(log: LabelLog) -> LabelSession:
        looks = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
        items = Items(
            pl.Series(np.arange(40)), looks[:, 0].astype(np.float64), {"t": FeatureMatrix(looks, tuple("abc"))}
        )
        return LabelSession(ActiveLearner(items, ResidualGP(kernel=ItemKernel(trees=20))), log, double=1.0)

    with LabelLog(server, session=log.session) as second, LabelLog(server, session=log.session) as third:
        one, two = begin(log), begin(second)
        item = one.next("ann").item
        assert two.next("bob").item != item
        one.say("ann", item, "anomalous", key="a")
        two.leave("bob")
        assert (two.next("bob").item, two.next("bob").policy) == (item, BLIND)
        two.ask("bob", item)
        assert two.say("bob", item, "normal", key="b", confidence=0.5, note="ü").score_seen
        assert one.progress().waiting == two.progress().waiting == 1 and one.undo("ann", key="u") == item
        assert two.progress().waiting == 0 and [row.annotator for row in two.judged()] == ["bob"]
        one.say("ann", item, "anomalous", key="c")
        assert two.open("eve", item, lead=True) is not None
        two.say("eve", item, "anomalous", key="d", lead=True)
        # The server drops its connections, as where it is started again.
        with second.engine.connect() as connection:
            others = "FROM pg_stat_activity WHERE usename = 'labels' AND pid <> pg_backend_pid()"
            connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) {others}")
        held = one.next("ann")
        assert (one.progress().found, one.progress().waiting) == (1, 0)
        again = begin(third)
        assert again.next("ann") == held and again.next("bob") == two.next("bob") != held
        np.testing.assert_array_equal(again.learner.posterior_, one.learner.posterior_)


def test_sessions_of_one_database_are_apart(server: str) -> None:
    with LabelLog(server, session="one") as one, LabelLog(server, session="two") as two:
        one.append(Label("a", "normal", "ann", key="same"))
        two.append(Label("b", "normal", "ann", key="same"))
        assert [row.item for row in one.read()] == ["a"] and [row.item for row in two.read()] == ["b"]


def test_a_server_that_is_not_there_is_one_line(server: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be opened") as caught:
        LabelLog("postgresql://labels:secret@127.0.0.1:1/labels")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
