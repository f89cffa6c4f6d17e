"""How well the default training ranks the anomalous of every labelled set, with one configuration and no label.

    python benchmarks/accuracy.py                  every set with role `benchmark` below $ANOMALY_DATA/sequences
    python benchmarks/accuracy.py --sets schonlau_sea --seeds 0 trainer.max_epochs=5
    python benchmarks/accuracy.py --data FOLDER    a labelled folder of your own, see anomaly.sweeps.folder

Each set and seed is a process of its own: it gives its memory back, and a crash is a row. Finished cells lie in the
folder --work and are not run again for the same configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from accuracy_cell import configuration, run_cell
from accuracy_table import draw_table, summarise
from measure import ROOT, result_path, stamp, write_json

from anomaly.sweeps.folder import LabelledFolder, find_folders, read_folder

WORK = Path(__file__).parent / "work"


def main(arguments: list[str] | None = None) -> None:
    """Run what is not finished, and write the result and its table."""
    args = _parser().parse_intermixed_args(arguments)
    if args.cell:
        write_json(args.cell, run_cell(read_folder(args.data), args.seeds[0], args.overrides))
        return
    folders = [read_folder(args.data)] if args.data else find_folders(_root(), args.sets)
    cells = [(folder, seed) for folder in folders for seed in args.seeds]
    kept = configuration(folders[0], args.seeds[0], args.overrides)
    rows = []
    for folder, seed in cells:
        rows.append(cell(folder, seed, args.overrides, args.work))
        sys.stdout.write(_line(rows[-1]) + "\n")
        sys.stdout.flush()
        _write(args.out, rows, kept, args)
    sys.stdout.write("\n" + draw_table(summarise(rows)) + "\n")


def cell(folder: LabelledFolder, seed: int, overrides: list[str], work: Path) -> dict[str, Any]:
    """Return the row of a set and a seed: the kept one, or that of a new process."""
    told = json.dumps([str(folder.path.resolve()), folder.events, configuration(folder, seed, overrides)])
    name = f"{folder.name}-{seed}-{sha256(told.encode()).hexdigest()[:12]}"
    path = work / f"{name}.json"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(Path(__file__).resolve()), "--cell", str(path), "--data", str(folder.path)]
        with (work / f"{name}.log").open("w") as log:
            done = subprocess.run(
                [*command, "--seeds", str(seed), *overrides], stdout=log, stderr=log, env=_environment(), check=False
            )
        if done.returncode or not path.exists():
            return {"set": folder.name, "seed": seed, "error": _reason(work / f"{name}.log", done.returncode)}
    row: dict[str, Any] = json.loads(path.read_text())
    return row


def _write(out: Path, rows: list[dict[str, Any]], kept: dict[str, Any], args: argparse.Namespace) -> None:
    summary = summarise(rows)
    document = stamp("accuracy", "torch", "pytorch-lightning", "pyod", "scikit-learn", "numpy", "polars")
    document["sources"] = sorted({row["code"]["sources"] for row in rows if "code" in row})
    document |= {"overrides": args.overrides, "configuration": kept, "means": summary, "rows": rows}
    write_json(out, document)
    out.with_suffix(".md").write_text(draw_table(summary), encoding="utf-8")


def _environment() -> dict[str, str]:
    # A checkout need not be installed to be measured.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _reason(log: Path, returncode: int) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"exit {returncode}" + (f": {lines[-1][:300]}" if lines else "")


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['set']} seed {row['seed']}: {row['error']}"
    figures = f"AUROC {row['auroc']:.3f} AP {row['average_precision']:.3f}"
    return f"{row['set']} seed {row['seed']}: {figures}, fit {row['seconds']['fit']:.0f} s"


def _root() -> Path:
    folder = os.environ.get("ANOMALY_DATA")
    if not folder:
        raise SystemExit("ANOMALY_DATA is not set: name a labelled folder with --data")
    return Path(folder) / "sequences"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the training configuration")
    parser.add_argument("--data", type=Path, help="one labelled folder, instead of those below $ANOMALY_DATA")
    parser.add_argument("--sets", type=lambda text: text.split(","), help="names of sets, comma-separated")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=result_path("accuracy"), help="result file; a table beside it")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the finished cells")
    parser.add_argument("--cell", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
