"""The labelling page under load: how soon the next case is there, and whether eight annotators lose or double a label.

A real server (`anomaly label`) in a process of its own, addressed over HTTP as the page does. First the time from a
verdict to the next case on a large pool, label by label; then annotators at once, each in a thread, for minutes; then
the log is read and checked against what was acknowledged.

    python benchmarks/labelling.py [--quick] [--folder FOLDER] [--out FILE]

The run (100,000 sequences of the simulated shop, counting members) is made once in FOLDER and kept there.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import numpy as np
from measure import result_path, stamp, write_json

from anomaly.active.labels_log import LabelLog

ITEM = re.compile(r'<article class="case" data-item="([^"]+)"')
EVENTS_PER_SESSION = 7.7
HAND = 0.3
"""Seconds from a case to its verdict, less than anybody takes; the reasons are worked out meanwhile."""


class Annotator:
    """What a page does, without the page: one connection, one cookie, one word after another."""

    def __init__(self, port: int, name: str) -> None:
        self.name, self.port = name, port
        self.wire = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = {"content-type": "application/x-www-form-urlencoded"}
        _, headers = self._send("POST", "/enter", urlencode({"name": name}))
        self.headers = {"cookie": headers["set-cookie"].partition(";")[0], "content-type": "application/json"}
        page, _ = self._send("GET", "/")
        self.headers["x-form-token"] = re.search(r'name="form-token" content="(\w+)"', page)[1]  # type: ignore[index]
        self.item: str = ITEM.search(page)[1]  # type: ignore[index]
        self.said: list[tuple[str, str]] = []
        self.seconds: list[float] = []
        self.refused: list[str] = []

    def _send(self, method: str, path: str, body: str = "") -> tuple[str, dict[str, str]]:
        self.wire.request(method, path, body.encode(), self.headers)
        answer = self.wire.getresponse()
        text = answer.read().decode()
        if answer.status >= 400:
            raise RuntimeError(f"{path}: {answer.status} {text[:200]}")
        return text, {name.lower(): value for name, value in answer.getheaders()}

    def say(self, verdict: str, key: str | None = None) -> None:
        """Judge the case on screen and take the next one."""
        word = {"key": key or uuid4().hex, "item": self.item, "verdict": verdict, "duration_ms": 1}
        # From here on the case may go to somebody else, for a second opinion.
        judged, self.item = self.item, ""
        begun = time.perf_counter()
        page, _ = self._send("POST", "/say", json.dumps(word))
        self.seconds.append(time.perf_counter() - begun)
        self.said.append((word["key"], judged))
        self.item = ITEM.search(page)[1]  # type: ignore[index]

    def read_reasons(self) -> None:
        """Ask why the case on screen is there, as the page does once it is shown; nobody waits for the answer."""
        path = "/reasons?" + urlencode({"item": self.item})

        def ask() -> None:
            wire = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            wire.request("GET", path, headers={"cookie": self.headers["cookie"]})
            wire.getresponse().read()
            wire.close()

        threading.Thread(target=ask).start()


class Server:
    """`anomaly label` in a process of its own."""

    def __init__(self, run: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "anomaly", "label", f"run={run}", f"port={self.port}", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("label at"):
            raise RuntimeError("the server did not start")
        self._wait()

    def _wait(self) -> None:
        for _ in range(600):
            with socket.socket() as wire:
                if wire.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def prepare(folder: Path, sequences: int) -> Path:
    """Return a run of about so many sequences, made where it is not there yet."""
    run = folder / f"run_{sequences}"
    if not (run / "manifest.json").is_file():
        shop = folder / f"shop_{sequences}"
        events = int(sequences * EVENTS_PER_SESSION)
        _anomaly("simulate", f"out={shop}", f"n_events={events}", "overwrite=true", "quiet=true")
        roles = [f"events.path={shop / 'events.parquet'}", "events=shop", "quiet=true", "overwrite=true"]
        _anomaly("train", f"run={run}", *roles, "model=none", "detector=counts", "corruption=none")
    return run


def _anomaly(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "anomaly", *arguments], check=True)


def latency(run: Path, labels: int, database: Path) -> dict[str, Any]:
    """Return how long a verdict takes until the next case is there, in milliseconds."""
    server = Server(run, f"database={database}", "double=0", "spares=0")
    try:
        annotator = Annotator(server.port, "ann")
        for k in range(labels):
            annotator.say("anomalous" if k % 3 == 0 else "normal")
            annotator.read_reasons()
            time.sleep(HAND)
        annotator.wire.close()
    finally:
        server.stop()
    ms = 1000 * np.array(annotator.seconds)
    late = ms[len(ms) // 2 :]
    return {
        "labels": labels,
        "p50_ms": round(float(np.quantile(ms, 0.5)), 1),
        "p95_ms": round(float(np.quantile(ms, 0.95)), 1),
        "largest_ms": round(float(ms.max()), 1),
        "p95_second_half_ms": round(float(np.quantile(late, 0.95)), 1),
    }


def crowd(run: Path, n: int, seconds: float, think: float, database: Path) -> dict[str, Any]:
    """Return what several annotators at once have said, and what of it the log holds."""
    server = Server(run, f"database={database}", "double=0.1")
    try:
        people = [Annotator(server.port, f"a{k}") for k in range(n)]
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=_work, args=(person, k, end, think)) for k, person in enumerate(people)]
        for thread in threads:
            thread.start()
        held = _watch(people, end)
        for thread in threads:
            thread.join()
        for person in people:
            person.wire.close()
    finally:
        server.stop()
    return {"annotators": n, "seconds": seconds, "held_by_two": held, **check(people, database, run.name)}


def _work(person: Annotator, k: int, end: float, think: float) -> None:
    rng = np.random.default_rng(k)
    while time.monotonic() < end:
        try:
            key = uuid4().hex
            person.say("anomalous" if rng.random() < 0.3 else "normal", key)
            person.read_reasons()
            time.sleep(float(rng.exponential(think)))
        except (RuntimeError, OSError) as error:
            person.refused.append(str(error))
            return


def _watch(people: list[Annotator], end: float) -> int:
    """Return how often two people had one case on screen."""
    twice = 0
    while time.monotonic() < end:
        shown = Counter(person.item for person in people if person.item)
        if max(shown.values(), default=0) > 1:
            # The screens are not read at one moment: look again before it counts.
            suspects = {item for item, count in shown.items() if count > 1}
            time.sleep(0.005)
            twice += any(sum(person.item == item for person in people) > 1 for item in suspects)
        time.sleep(0.01)
    return twice


def check(people: list[Annotator], database: Path, session: str) -> dict[str, Any]:
    """Compare what was acknowledged with what the log holds."""
    with LabelLog(database, session=session, read_only=True) as log:
        rows = log.read()
    acknowledged = [(key, item, person.name) for person in people for key, item in person.said]
    written = Counter((row.key, row.item, row.annotator) for row in rows)
    by_person = Counter((row.item, row.annotator) for row in rows)
    third = [item for item, count in Counter(row.item for row in rows).items() if count > 2]
    ms = 1000 * np.concatenate([person.seconds for person in people])
    return {
        "labels": len(acknowledged),
        "lost": sum(written[word] == 0 for word in acknowledged),
        "doubled": sum(count > 1 for count in (*written.values(), *by_person.values())),
        "judged_by_three": len(third),
        "refused": [text for person in people for text in person.refused],
        "p50_ms": round(float(np.quantile(ms, 0.5)), 1),
        "p95_ms": round(float(np.quantile(ms, 0.95)), 1),
    }


def main() -> None:
    """Measure, check, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3,000 sequences, 30 labels, 10 seconds; writes no result")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "anomaly" / "labelling")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sequences, labels, seconds = (3000, 30, 10.0) if arguments.quick else (100_000, 500, 300.0)
    run = prepare(arguments.folder, sequences)
    scratch = arguments.folder / "labels"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    document = stamp("labelling", "fastapi", "uvicorn", "sqlalchemy", "numpy")
    document["sequences"] = sequences
    document["one"] = latency(run, labels, scratch / "one.sqlite")
    print(json.dumps(document["one"]))
    document["crowd"] = crowd(run, 8, seconds, 1.0, scratch / "crowd.sqlite")
    print(json.dumps(document["crowd"]))
    if arguments.out or not arguments.quick:
        write_json(arguments.out or result_path("labelling"), document)


if __name__ == "__main__":
    main()
