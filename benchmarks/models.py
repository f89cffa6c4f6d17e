"""How well every model of the family ranks alone: no other detector beside it, no label, one configuration.

    python benchmarks/models.py                          every model on every set with role `benchmark`, seeds 0, 1, 2
    python benchmarks/models.py --quick                  one seed, small and short, proc_receipt_010
    python benchmarks/models.py --models next_event_gru,contrastive --sets schonlau_sea
    OMP_NUM_THREADS=1 python benchmarks/models.py --jobs 16    sixteen cells at once, each of one thread

Each cell is a process of `accuracy.py` with `model=<name> detector=none`; finished cells are kept below --work. A model
earns its place on a set where its average precision is the best of all models, or behind it by no more than the spread
over seeds of the two. Models that have no event scores take no part where the event is the item.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any

from accuracy import WORK, _root, cell
from accuracy_table import summarise
from measure import ROOT, result_path, stamp, write_json

from anomaly.sweeps.folder import find_folders

MODELS = tuple(sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml") if path.stem != "none"))
QUICK = ["trainer.max_epochs=6", "model.width=64", "trainer.max_time=00:00:01:00"]
SMALL = ["proc_receipt_010"]


def main(arguments: list[str] | None = None) -> None:
    """Run what is not finished, and write the result and its table."""
    args = _parser().parse_intermixed_args(arguments)
    sets, seeds = (args.sets or SMALL, [0]) if args.quick else (args.sets, args.seeds)
    overrides = [*(QUICK if args.quick else []), *args.overrides]
    wanted = list(product(find_folders(_root(), sets), seeds, args.models))
    rows: dict[int, dict[str, Any]] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        own = ["detector=none", *overrides]
        running = {pool.submit(cell, f, s, [f"model={m}", *own], args.work): i for i, (f, s, m) in enumerate(wanted)}
        for done in as_completed(running):
            model = wanted[running[done]][2]
            rows[running[done]] = {"model": model, **done.result()}
            sys.stdout.write(f"{model} on {_line(rows[running[done]])}\n")
            sys.stdout.flush()
            _write(args.out, [rows[i] for i in sorted(rows)], overrides)
    sys.stdout.write("\n" + draw(means([rows[i] for i in sorted(rows)])))


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return model to set to its mean figures, their spread, and whether the model earns its place there."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    found = {m: {s["set"]: s for s in summarise([row for row in rows if row["model"] == m])} for m in models}
    for name in dict.fromkeys(row["set"] for row in rows):
        cells = [found[m][name] for m in models if "auroc" in found[m].get(name, {})]
        best = max(cells, key=lambda c: float(c["average_precision"]), default=None)
        for each in cells:
            spread = each["average_precision_std"] + best["average_precision_std"] if best else 0.0
            each["earns"] = best is not None and each["average_precision"] >= best["average_precision"] - spread
    return found


def draw(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the table as Markdown."""
    sets = list(dict.fromkeys(name for cells in found.values() for name in cells))
    lines = [
        "AUROC/AP of each model alone, mean ± standard deviation of AP over seeds; bold where it earns its place.\n\n",
        f"| model | {' | '.join(sets)} | seconds to fit | earns its place |\n",
        "|---" * (len(sets) + 3) + "|\n",
    ]
    for model, cells in found.items():
        earned = [name for name in sets if cells.get(name, {}).get("earns")]
        fit = sum(c.get("fit_seconds", 0.0) for c in cells.values())
        verdict = ", ".join(earned) or "**nowhere**"
        lines.append(f"| {model} | {' | '.join(_cell(cells.get(n, {})) for n in sets)} | {fit:.0f} | {verdict} |\n")
    return "".join(lines)


def _cell(summary: dict[str, Any]) -> str:
    if "auroc" not in summary:
        return "-"
    figures = f"{summary['auroc']:.3f}/{summary['average_precision']:.3f} ± {summary['average_precision_std']:.3f}"
    return f"**{figures}**" if summary["earns"] else figures


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['set']} seed {row['seed']}: {row['error']}"
    return f"{row['set']} seed {row['seed']}: AUROC {row['auroc']:.3f} AP {row['average_precision']:.3f}"


def _write(out: Path, rows: list[dict[str, Any]], overrides: list[str]) -> None:
    found = means(rows)
    document = stamp("models", "torch", "pytorch-lightning", "scikit-learn", "numpy", "polars")
    document["sources"] = sorted({row["code"]["sources"] for row in rows if "code" in row})
    write_json(out, document | {"overrides": overrides, "means": found, "rows": rows})
    out.with_suffix(".md").write_text(draw(found), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the training configuration")
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS), help="comma-separated")
    parser.add_argument("--sets", type=lambda text: text.split(","), help="names of sets, comma-separated")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="cells at once; set OMP_NUM_THREADS to share the cores")
    parser.add_argument("--quick", action="store_true", help="one seed, a small set, short trainings")
    parser.add_argument("--out", type=Path, default=result_path("models"), help="result file; a table beside it")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the finished cells")
    return parser


if __name__ == "__main__":
    main()
