"""What training and scoring cost per event, and what memory they take, from 100,000 events to ten million.

    python benchmarks/scale.py                        the default GRU: one epoch, then every event scored
    python benchmarks/scale.py --cell transformer --events 100000 1000000

Every size is a process of its own over a store that is mapped from disk. Batches are as large for all sizes. Memory is
the process's own (anonymous) at its highest, beside what is returned; the mapped store is the system's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from measure import result_path, stamp, write_json
from speed_data import MEAN_LENGTH, speed_store

from anomaly.detectors.neural import NeuralDetector
from anomaly.sequences.store import SequenceStore

SIZES = (100_000, 1_000_000, 10_000_000)
WITHIN = 0.15
N_ENTITIES, HELD_OUT = 500, 500


class Phase:
    """Wall and processor time of a block, and the highest anonymous memory in it."""

    def __enter__(self) -> Self:
        self.peak_gb, self._over = anonymous_gb(), threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        self._begun, self._spent = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu_seconds = time.perf_counter() - self._begun, time.process_time() - self._spent
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.peak_gb = max(self.peak_gb, anonymous_gb())

    def figures(self, events: int) -> dict[str, float]:
        """Return time per event, and the memory."""
        each = 1e6 * self.cpu_seconds / events
        return {"seconds": self.seconds, "cpu_microseconds_per_event": each, "peak_gb": self.peak_gb}


def anonymous_gb() -> float:
    """Return the memory that this process holds and no file does."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / 1e9


def measure(folder: Path, cell: str, threads: int) -> dict[str, Any]:
    """Train one epoch and score, in this process."""
    torch.set_num_threads(threads)
    store, held_out = SequenceStore.open(folder), speed_store(HELD_OUT, n_entities=N_ENTITIES, timed=True)
    layers = {"gru": 1, "transformer": 3}[cell]
    detector = NeuralDetector(cell=cell, layers=layers, max_epochs=1, batch_tokens=8192, max_time=None)  # type: ignore[arg-type]
    detector.fit(held_out.take(np.arange(100)), held_out=held_out).analyse(held_out)
    before = anonymous_gb()
    with Phase() as training:
        detector.fit(store, held_out=held_out)
    with Phase() as scoring:
        analysis = detector.analyse(store)
    arrays = [analysis.statistics.values, analysis.fields_TF, analysis.event_statistics.values, analysis.embedding_ND]
    returned = sum(array.nbytes for array in arrays if array is not None) / 1e9
    figures: dict[str, Any] = {"events": store.n_events, "sequences": len(store), "before_gb": before}
    figures |= {"training": training.figures(store.n_events), "scoring": scoring.figures(store.n_events)}
    figures["training"]["added_gb"] = training.peak_gb - before
    figures["scoring"] |= {"returned_gb": returned, "added_gb": scoring.peak_gb - before - returned}
    return figures


def in_process(events: int, args: argparse.Namespace) -> dict[str, Any]:
    """Make a store of about so many events and measure in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--cell", args.cell, "--threads", str(args.threads)]
        subprocess.run([*command, "--make", folder, "--events", str(events)], check=True)
        done = subprocess.run([*command, "--child", folder], check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def linear(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by phase the time per event of each size over that of the smallest, and whether none exceeds the must."""
    found: dict[str, Any] = {}
    for phase in ("training", "scoring"):
        each = [row[phase]["cpu_microseconds_per_event"] for row in figures]
        ratios = [round(x / each[0], 3) for x in each]
        found[phase] = {"per_event_over_smallest": ratios, "holds": max(ratios) <= 1 + WITHIN}
    return found


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--cell", default="gru", choices=["gru", "transformer"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=result_path("scale"))
    args = parser.parse_args()
    if args.make:
        speed_store(round(args.events[0] / MEAN_LENGTH), n_entities=N_ENTITIES, timed=True).save(args.make)
        return
    if args.child:
        sys.stdout.write(json.dumps(measure(args.child, args.cell, args.threads)) + "\n")
        return
    document = stamp("scale", "torch", "pytorch-lightning", "numpy")
    document |= {"cell": args.cell, "threads": args.threads, "epochs": 1, "within": WITHIN, "figures": []}
    for events in args.events:
        document["figures"].append(in_process(events, args))
        sys.stdout.write(json.dumps(document["figures"][-1]) + "\n")
        sys.stdout.flush()
    write_json(args.out, document | {"linear": linear(document["figures"])})


if __name__ == "__main__":
    main()
