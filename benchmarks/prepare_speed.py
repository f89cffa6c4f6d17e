"""How long it takes to turn a Parquet file of events into a store, against Polars reading and sorting the same file.

    python benchmarks/prepare_speed.py           1M and 10M events
    python benchmarks/prepare_speed.py --full    and 50M, without Polars
    python benchmarks/prepare_speed.py --quick   1M events once

Every measurement runs in a process of its own, whose peak memory is recorded; the two take turns, and medians are
compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import result_path, stamp, write_json

MILLION = 1_000_000
CHUNK = 5 * MILLION
EVENTS = ["view", "search", "cart", "order", "pay", "return", "review", "login"]


def write_log(path: Path, n_events: int, seed: int = 0) -> None:
    """Write 8 columns of a shop's log in the order of time, 50 events per user, chunk by chunk."""
    rng = np.random.default_rng(seed)
    folder = path.with_suffix(".parts")
    folder.mkdir()
    start, span = 1_700_000_000, 180 * 86_400
    for k, first in enumerate(range(0, n_events, CHUNK)):
        n = min(CHUNK, n_events - first)
        low, high = span * first // n_events, span * (first + n) // n_events
        seconds = start + np.sort(rng.integers(low, high, n))
        columns = {
            "user": rng.integers(0, max(n_events // 50, 1), n),
            "time": pl.Series(seconds * MILLION).cast(pl.Datetime("us")),
            "event": names(EVENTS, rng.integers(0, 8, n)),
            "category": names([f"category-{c}" for c in range(200)], np.minimum(rng.zipf(1.3, n), 200) - 1),
            "device": names([f"device-{c}" for c in range(20_000)], rng.integers(0, 20_000, n)),
            "country": names([f"c{c}" for c in range(40)], rng.integers(0, 40, n)),
            "amount": rng.lognormal(3, 1, n),
            "quantity": rng.poisson(2, n).astype(np.int32),
        }
        pl.DataFrame(columns).write_parquet(folder / f"{k:03d}.parquet")
    pl.scan_parquet(folder / "*.parquet").sink_parquet(path)
    for part in folder.iterdir():
        part.unlink()
    folder.rmdir()


def names(values: list[str], places: np.ndarray[Any, Any]) -> pl.Series:
    """Return values by their places."""
    return pl.Series(values).gather(pl.Series(places.astype(np.uint32)))


def run_polars(path: Path, out: Path) -> int:
    """Read all rows and sort them by entity and time."""
    return pl.read_parquet(path).sort("user", "time").height


def run_anomaly(path: Path, out: Path) -> int:
    """Fit the encoder and write the store."""
    from anomaly.events.readers import EventSource
    from anomaly.events.schema import EventSchema
    from anomaly.sequences.build import build_store

    categorical = ["event", "category", "device", "country"]
    schema = EventSchema.of(
        entity="user", time="time", sequence=None, categorical=categorical, numeric=["amount", "quantity"]
    )
    return build_store(EventSource.open(path), schema, out=out).store.n_events


JOBS = {"polars": run_polars, "anomaly": run_anomaly}


def child(job: str, path: Path, out: Path) -> None:
    """Run one job and print its time and peak memory as JSON."""
    if job == "anomaly":
        import anomaly.sequences.build  # noqa: F401  (imports are not what is measured)
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    n_events = JOBS[job](path, out)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "events": n_events,
        "seconds": wall,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_gb": after.ru_maxrss * 1024 / 1e9,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def measure(job: str, path: Path, folder: Path, turn: int) -> dict[str, float]:
    """Run a job in a process of its own."""
    out = folder / f"store-{job}-{turn}"
    command = [sys.executable, __file__, "--job", job, "--path", str(path), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    subprocess.run(["rm", "-rf", str(out)], check=True)
    if done.returncode:
        # A process that runs out of memory is a result too.
        return {"returncode": done.returncode}
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(n_events: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Return the medians of both jobs on one file, and their ratio."""
    path = folder / f"events-{n_events}.parquet"
    write_log(path, n_events)
    # Polars sorts in memory: 50M events take some 15 GB, which this machine may not have to spare.
    jobs = list(JOBS) if n_events <= 10 * MILLION else ["anomaly"]
    runs: dict[str, list[dict[str, float]]] = {job: [] for job in jobs}
    for turn in range(repeats):
        for job in jobs:
            runs[job].append(measure(job, path, folder, turn))
    size = path.stat().st_size
    path.unlink()
    result: dict[str, Any] = {"events": n_events, "file_mb": round(size / 1e6, 1), "repeats": repeats}
    for job, figures in runs.items():
        good = [f for f in figures if "seconds" in f]
        result[job] = {"failed": len(figures) - len(good)}
        for key in ("seconds", "cpu_seconds", "peak_gb") if good else ():
            result[job][key] = round(statistics.median(f[key] for f in good), 3)
        result[job]["all_seconds"] = [round(f["seconds"], 3) for f in good]
    if all("seconds" in result.get(job, {}) for job in JOBS):
        result["ratio"] = round(result["anomaly"]["seconds"] / result["polars"]["seconds"], 3)
        result["ratio_cpu"] = round(result["anomaly"]["cpu_seconds"] / result["polars"]["cpu_seconds"], 3)
    return result


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also 50M events")
    parser.add_argument("--quick", action="store_true", help="1M events, once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--millions", type=int, nargs="*", default=[1, 10])
    parser.add_argument("--job", choices=JOBS)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--result", type=Path, default=result_path("prepare_speed"))
    args = parser.parse_args()
    if args.job:
        child(args.job, args.path, args.out)
        return
    if args.quick:
        args.millions, args.repeats = [1], 1
    sizes = [m * MILLION for m in args.millions] + ([50 * MILLION] if args.full else [])
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            figures.append(compare(n, 1 if n > 10 * MILLION else args.repeats, Path(folder)))
            sys.stdout.write(json.dumps(figures[-1]) + "\n")
    what = "Parquet to a store on disk, encoder fitted, against polars.read_parquet().sort(entity, time); seconds"
    write_json(args.result, stamp("prepare_speed", "polars", "numpy") | {"what": what, "figures": figures})


if __name__ == "__main__":
    main()
