"""How long `anomaly train` with its defaults takes on a simulated shop of three million events, phase by phase.

    python benchmarks/train_cap.py              3M events: 8 minutes of training, and what stands around it
    python benchmarks/train_cap.py --quick      300,000 events, trainer.max_time of one minute
    python benchmarks/train_cap.py trainer.max_time=00:00:02:00 --events 1000000

The training is one process. The wall and processor time of every phase that it announces, and the highest memory by
its end, are recorded; the shop is simulated outside.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import result_path, stamp, write_json

EVENTS, QUICK = 3_000_000, 300_000
SLACK_S = 15.0
"""A training is stopped at the end of a batch; the epoch's held-out pass is part of what the cap leaves."""


class Phases:
    """Wall time, processor time and peak memory between announcements."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._name, self._begun, self._used = "start", time.perf_counter(), time.process_time()

    def enter(self, name: str) -> None:
        """End the phase that runs, unless it is this one, and begin another."""
        if name == self._name:
            return
        now, used = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        row = {"phase": self._name, "seconds": now - self._begun, "cpu_seconds": used - self._used, "peak_gb": peak}
        self.rows.append({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()})
        self._name, self._begun, self._used = name, now, used


def train(events: Path, run: Path, overrides: list[str], profile: Path | None) -> None:
    """Train in this process and print the phases as JSON."""
    import anomaly.commands.train as command
    from anomaly.commands.compose import compose

    phases = Phases()

    class Listener(command.Console):
        def progress(self, what: str, *_: Any) -> None:
            phases.enter(what)

    command.Console = Listener  # type: ignore[misc]
    settings = compose("train", ["events=shop", *overrides], {"run": str(run), "events.path": str(events)})
    if profile is None:
        command.command(settings)
    else:
        import cProfile

        cProfile.runctx("command.command(settings)", globals(), locals(), str(profile))
    phases.enter("end")
    sys.stderr.write(json.dumps(phases.rows) + "\n")


def measure(n_events: int, overrides: list[str], folder: Path, profile: Path | None) -> dict[str, Any]:
    """Simulate, train in a process of its own, and return the figures."""
    shop, run = folder / f"shop-{n_events}", folder / f"run-{n_events}"
    anomaly = [sys.executable, "-m", "anomaly"]
    if not (shop / "events.parquet").exists():
        subprocess.run([*anomaly, "simulate", f"out={shop}", f"n_events={n_events}", "seed=7"], check=True)
    command = [sys.executable, __file__, "--child", str(run), "--folder", str(shop), *overrides, "overwrite=true"]
    command += ["--profile", str(profile)] if profile else []
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    wall = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stderr)
    phases = json.loads(done.stderr.splitlines()[-1])
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = {line["event"]: line.get("seconds") for line in lines}
    said = "stopped by trainer.max_time" in (run / "report.html").read_text()
    return {
        "events": n_events,
        "seconds": round(wall, 1),
        "peak_gb": max(row["peak_gb"] for row in phases),
        "seconds_of_steps": steps,
        "report_says_stopped": said,
        "phases": phases,
    }


def cap_seconds(overrides: list[str]) -> float:
    """Return the cap that a training with these overrides has."""
    from anomaly.commands.compose import compose

    settings = compose("train", overrides, {"run": "none", "events.path": "none"})
    days, hours, minutes, seconds = map(float, str(settings.values["trainer"]["max_time"]).split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of `anomaly train`")
    parser.add_argument("--events", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep the shop and the run here")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the training here")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=result_path("train_cap"))
    args = parser.parse_intermixed_args()
    if args.child:
        train(args.folder / "events.parquet", args.child, args.overrides, args.profile)
        return
    overrides = [*(["trainer.max_time=00:00:01:00"] if args.quick else []), *args.overrides]
    n_events = args.events or (QUICK if args.quick else EVENTS)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(n_events, overrides, args.folder or Path(folder), args.profile)
    figures |= {"overrides": overrides, "cap_seconds": cap_seconds(overrides)}
    trained = [
        row["seconds"] for row in figures["phases"] if row["phase"].startswith(("training", "fitting next_event"))
    ]
    figures["training_seconds"] = round(sum(trained), 1)
    figures["holds"] = figures["training_seconds"] <= figures["cap_seconds"] + SLACK_S
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    write_json(
        args.out, stamp("train_cap", "torch", "pytorch-lightning", "polars", "scikit-learn") | {"figures": [figures]}
    )


if __name__ == "__main__":
    main()
