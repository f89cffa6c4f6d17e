"""What 10, 50 and 200 labels are worth: average precision on the later half, which gives no label, before and after.

    python benchmarks/finetune.py                     five sets, five draws of the labels, with peers
    python benchmarks/finetune.py --sets shop --quick a small shop, one draw, no peers: two minutes
    python benchmarks/finetune.py --peers none        without PyOD's XGBOD and DevNet
    python benchmarks/finetune.py --minutes 10        no further draw of a set ten minutes after its training

Each set is trained once, without labels; the run lies in --work and is used again. A finished cell is not run again for
the same code. Half of the labels are anomalous where there are enough of these. The peers learn from the same vectors
in an environment of their own: python benchmarks/peers/install.py xgboost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from finetune_sets import Task, read_task
from measure import code, result_path, stamp, write_json

SETS = ["schonlau_sea", "proc_declarations_010", "btc_otc", "fraud_handbook", "shop"]
WAYS: dict[str, dict[str, Any] | None] = {
    "posterior alone": None,
    "lora": {},
    "full": {"trains": "full"},
    "head only": {"trains": "head"},
    "top_k": {"trains": "top_k"},
    "deviation": {"head": "deviation"},
    "deep_sad": {"head": "deep_sad"},
}
DEFAULT = "lora"
WORK = Path(__file__).parent / "work" / "finetune"


class Bench:
    """One set: trained, its two halves scored without labels."""

    def __init__(self, task: Task, folder: Path, *, quick: bool) -> None:
        import anomaly
        from anomaly.artifact.labelled import pool
        from anomaly.artifact.run import Run

        self.task = task
        if not Run(folder).finished:
            options: dict[str, Any] = {"overwrite": True, "unit": task.unit, **task.roles}
            if quick:
                options |= {"model": {"width": 64}, "trainer": {"max_epochs": 4}, "detector": "counts"}
            anomaly.train(task.fit, run=folder, **options)
        self.run = Run.load(folder)
        self.ensemble = self.run.ensemble
        self.labelled = self._half(task.labelled, judged=False)
        self.judged = self._half(task.judged, judged=True)
        self.vectors = [pool(self.ensemble, *half[:2]).views for half in (self.labelled, self.judged)]

    def _half(self, rows: Any, *, judged: bool) -> tuple[Any, Any, Any]:
        from anomaly.artifact.finetuning import LabelSource, labels_of_items
        from anomaly.artifact.scoring import source_of
        from anomaly.sequences.build import build_store

        past = self.task.history(judged)
        encoder = self.run.encoder
        history = None if past is None else source_of(past)
        store = build_store(source_of(rows), encoder.schema_, encoder=encoder, history=history).store
        store = self.ensemble.seen(store)
        scored = self.ensemble.score_unlabelled(store)
        return store, scored, labels_of_items(LabelSource(self.task.labels), store, scored, self.task.unit)

    def draw(self, size: int, seed: int) -> Any:
        """Return (n,) the labels that are shown: half of them anomalous where there are enough."""
        truth, rng = self.labelled[2], np.random.default_rng([size, seed])
        odd, usual = (rng.permutation(np.flatnonzero(truth == label)) for label in (1, 0))
        n_odd = min(size // 2, len(odd))
        shown = np.full(len(truth), -1)
        shown[odd[:n_odd]], shown[usual[: size - n_odd]] = 1, 0
        return shown

    def before(self) -> float:
        """Return the average precision of the score without labels."""
        return self._precision(self.judged[1].score)

    def after(self, shown: Any, way: dict[str, Any] | None) -> dict[str, Any]:
        """Return what a way of learning makes of the labels."""
        from anomaly.artifact.labelled import LabelledRanking
        from anomaly.detectors.finetuned import FineTunedDetector

        begun = time.perf_counter()
        network = None if way is None else FineTunedDetector(**way)
        ranking = LabelledRanking(network=network).fit(self.ensemble, *self.labelled[:2], shown)
        ranked = ranking.rank(self.ensemble, *self.judged[:2])
        tuned = ranking.network_
        return {
            "average_precision": self._precision(ranked.posterior),
            "helps": ranking.helps_,
            "network_heard": ranking.heard_,
            "evidence": [ranking.posterior_.evidence_.prior, ranking.posterior_.evidence_.posterior],
            "share": None if tuned is None else round(tuned.share_, 5),
            "epochs": None if tuned is None else tuned.epochs_,
            "seconds": round(time.perf_counter() - begun, 1),
        }

    def peers(self, shown: Any, python: Path) -> dict[str, dict[str, Any]]:
        """Return the peers' figures on the vectors that the network gives; on an event's own numbers beside them."""
        name = "embedding" if "embedding" in self.vectors[0] else "event"
        rows = np.flatnonzero(shown >= 0)
        unknown = np.random.default_rng(0).permutation(np.flatnonzero(shown < 0))[:5000]
        rows = np.concatenate([rows, unknown])
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.npz", Path(folder) / "out.json"
            x, z = (np.nan_to_num(views[name].values) for views in self.vectors)
            np.savez(source, x=x[rows], y=shown[rows], z=z)
            script = Path(__file__).with_name("finetune_peers.py")
            done = subprocess.run([python, script, source, target], capture_output=True, text=True, check=False)
            if done.returncode:
                return {"peers": {"error": done.stderr.strip().splitlines()[-1][:200]}}
            found = json.loads(target.read_text())
        return {peer: {"average_precision": self._precision(np.asarray(s))} for peer, s in found.items()}

    def _precision(self, score: Any) -> float:
        from anomaly.metrics.ranking import average_precision

        truth = self.judged[2]
        return round(average_precision(truth[truth >= 0], np.nan_to_num(score[truth >= 0])), 5)


def main(arguments: list[str] | None = None) -> None:
    """Run what is not finished, and write the result and its table."""
    parser = _parser()
    args = parser.parse_args(arguments)
    args.seeds = args.seeds or (1 if args.quick else 5)
    python = None if args.peers == "none" or args.quick else Path(args.peers) / "xgboost" / "bin" / "python"
    if python is not None and not (python.parents[1] / "installed.json").is_file():
        parser.error("the peers are not installed; run: python benchmarks/peers/install.py xgboost; or --peers none")
    rows: list[dict[str, Any]] = []
    for name in args.sets:
        task = read_task(name, quick=args.quick)
        folder = args.work / f"{name}{'-quick' if args.quick else ''}"
        bench: Bench | None = None
        until = float("inf") if args.minutes else 0.0
        for seed, size in product(range(args.seeds), task.sizes):
            path = folder / "cells" / f"{size}-{seed}-{code()['sources']}.json"
            if not path.exists() and time.monotonic() < until:
                if bench is None:
                    bench = Bench(task, folder / "run", quick=args.quick)
                    until = time.monotonic() + 60 * args.minutes
                write_json(path, _cell(bench, size, seed, args.ways, python))
            if path.exists():
                rows.append({"set": name, "size": size, "seed": seed, **json.loads(path.read_text())})
                sys.stdout.write(_line(rows[-1]) + "\n")
                sys.stdout.flush()
        _write(args.out, rows, args)
    sys.stdout.write("\n" + table(rows) + "\n")


def _cell(bench: Bench, size: int, seed: int, ways: list[str], python: Path | None) -> dict[str, Any]:
    shown = bench.draw(size, seed)
    found = {way: bench.after(shown, WAYS[way]) for way in ways}
    peers = {} if python is None else bench.peers(shown, python)
    return {"anomalous": int((shown == 1).sum()), "before": bench.before(), "ways": found, "peers": peers}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the means over the draws: a line per set and number of labels."""
    ways = list(dict.fromkeys(name for row in rows for part in ("ways", "peers") for name in row[part]))
    lines = ["| set | labels | draws | without | " + " | ".join(ways) + " | losses |", "|---" * (len(ways) + 5) + "|"]
    for name, size in sorted({(row["set"], row["size"]) for row in rows}):
        cells = [row for row in rows if (row["set"], row["size"]) == (name, size)]
        before = float(np.mean([row["before"] for row in cells]))
        figures = {way: [(r["ways"] | r["peers"]).get(way, {}).get("average_precision") for r in cells] for way in ways}
        means = {way: float(np.mean(each)) for way, each in figures.items() if None not in each}
        own = means.get(DEFAULT, max((means[w] for w in means if w in WAYS), default=0.0))
        losses = [what for what, value in (("without", before), *means.items()) if what not in WAYS and value >= own]
        if "full" in means and means["full"] - own > 0.02:
            losses.append("full")
        shown = " | ".join(f"{means[w]:.3f} ± {np.std(figures[w]):.3f}" if w in means else "-" for w in ways)
        lines.append(f"| {name} | {size} | {len(cells)} | {before:.3f} | {shown} | {', '.join(losses) or 'none'} |")
    return "\n".join(lines)


def _write(out: Path, rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    document = stamp("finetune", "torch", "peft", "pyod", "scikit-learn", "numpy")
    write_json(out, document | {"quick": args.quick, "seeds": args.seeds, "default": DEFAULT, "rows": rows})
    head = "AP on a later half that gives no label, mean ± standard deviation over draws of the labels.\n\n"
    out.with_suffix(".md").write_text(head + table(rows) + "\n", encoding="utf-8")


def _line(row: dict[str, Any]) -> str:
    every = {name: cell.get("average_precision", "error") for name, cell in (row["ways"] | row["peers"]).items()}
    seconds = sum(cell["seconds"] for cell in row["ways"].values())
    figures = ", ".join(f"{name} {value}" for name, value in every.items())
    return f"{row['set']} {row['size']} labels, draw {row['seed']}: without {row['before']}; {figures}; {seconds:.0f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names: Any = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--sets", type=names, default=SETS, help="comma-separated")
    parser.add_argument("--ways", type=names, default=list(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seeds", type=int, help="draws of the labels; 5, or 1 with --quick")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for a set's draws")
    parser.add_argument("--quick", action="store_true", help="a small run, one draw, no peers")
    parser.add_argument("--peers", default=str(Path.home() / ".cache" / "anomaly" / "peers"), help="folder, or none")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of trained runs and finished cells")
    parser.add_argument("--out", type=Path, default=result_path("finetune"), help="result file; a table beside it")
    return parser


if __name__ == "__main__":
    main()
