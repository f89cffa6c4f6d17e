"""Time and peak memory of simulating a shop's log of one million events, for a few seeds.

Usage: python benchmarks/simulate_speed.py [n_events]
Writes benchmarks/results/simulate_speed_cpu<cores>_<yyyymmdd>.json.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import result_path, stamp, write_json

from anomaly.simulation.shop import Shop

LIMIT_S = 20.0
SEEDS = (7, 8, 9)


def measure(n_events: int, seed: int) -> dict[str, Any]:
    """Simulate and save once."""
    begin = time.perf_counter()
    made = Shop(n_events=n_events, random_state=seed).simulate()
    middle = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made.save(folder)
        end = time.perf_counter()
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {
        "seed": seed,
        "events": len(made.events),
        "sessions": len(made.labels),
        "anomalous_share": round(float(made.labels["label"].to_numpy().mean()), 5),
        "simulate_s": round(middle - begin, 3),
        "save_s": round(end - middle, 3),
        "parquet_mb": round(size / 1e6, 1),
    }


def main() -> None:
    """Measure every seed, keep the figures and print them."""
    n_events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    runs = [measure(n_events, seed) for seed in SEEDS]
    seconds = [run["simulate_s"] + run["save_s"] for run in runs]
    result = stamp("simulate_speed", "numpy", "polars") | {
        "n_events": n_events,
        "limit_s": LIMIT_S,
        "seconds": {"median": round(float(np.median(seconds)), 3), "worst": round(max(seconds), 3)},
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "runs": runs,
    }
    write_json(result_path("simulate_speed"), result)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
