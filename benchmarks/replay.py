"""What labels bring: anomalies found, precision of what was held out, wrong labels, time, against coniferest.

    python benchmarks/replay.py                        the AAD sets, ten seeds, all methods; about an hour
    python benchmarks/replay.py --part tabular --seeds 0    33 sets of ADBench, 10,000 rows at most
    python benchmarks/replay.py --part speed           time of an update, pools of 100,000 and 1,000,000
    python benchmarks/replay.py --part runs            sequence sets, which are trained first
    python benchmarks/replay.py --quick                two small sets, one seed

coniferest is installed into an environment of its own (--peers DIR; made where it is missing). Finished cells lie in
the folder --work and are not run again; delete them after the code has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from measure import result_path, stamp, write_json
from peers.install import install
from replay_cell import MINE, PASSES, PEER_PASSES, PEERS, Cell, run_cell, speed_cell
from replay_table import draw_table, summarise

WORK = Path(__file__).parent / "work" / "replay"
HOME = Path.home() / ".cache" / "anomaly" / "peers" / "coniferest"
QUICK = ("abalone", "yeast", "14_glass", "45_wine")
SHOP = """\
role: benchmark
events:
  entity: user
  sequence: session
  time: time
  id: event_id
  categorical: [event, category, seller, item, device, address, card]
  numeric: [amount, rating]
fit: all
score: all
level: sequence
labels: {path: labels.parquet, id: sequence, label: label}
"""
SEQUENCES = ("schonlau_sea", "fraud_handbook", "btc_otc", "hdfs_loghub_partial", "shop")


def main(arguments: list[str] | None = None) -> None:
    """Run the parts that are asked for, and write the result and its table."""
    args = _parser().parse_intermixed_args(arguments)
    args.work.mkdir(parents=True, exist_ok=True)
    args.peers = None if args.no_peers else environment(args.peers)
    document = stamp("replay", "scikit-learn", "numpy", "polars")
    parts = {"tables": _aad, "tabular": _adbench, "speed": _speed, "runs": _runs}
    kept = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    document |= {name: kept[name] for name in parts if name in kept}
    for name in [args.part] if args.part else ["tables", "speed"]:
        document[name] = parts[name](args)
        write_json(args.out, document)
    table = draw_table(document)
    args.out.with_suffix(".md").write_text(table, encoding="utf-8")
    sys.stdout.write("\n" + table + "\n")


def environment(folder: Path) -> Path:
    """Return the environment that holds coniferest, made where it is missing."""
    if install("coniferest", folder):
        raise SystemExit(f"coniferest cannot be installed: see {folder / 'failed.txt'}, or give --no-peers")
    return folder


def _aad(args: argparse.Namespace) -> dict[str, Any]:
    return _tables(args, {path.stem: path for path in sorted((_root() / "aad").glob("*.csv"))})


def _adbench(args: argparse.Namespace) -> dict[str, Any]:
    return _tables(args, {path.stem: path for path in sorted((_root() / "tabular").glob("*.npz"))})


def _tables(args: argparse.Namespace, paths: dict[str, Path]) -> dict[str, Any]:
    names = args.sets or [name for name in paths if not args.quick or name in QUICK]
    seeds = args.seeds or ([0] if args.quick else list(range(10)))
    methods = args.methods or (*MINE, *(PEERS if args.peers else ()))
    cells = [
        Cell(n, m, s, w)
        for s in seeds
        for n in names
        for m in methods
        for w in args.passes
        if m in MINE or w in PEER_PASSES
    ]
    with ProcessPoolExecutor(args.workers) as pool:
        files = [paths[cell.name] for cell in cells]
        rows = list(pool.map(_kept, cells, files, [args.peers] * len(cells), [args.work] * len(cells)))
    return {"seeds": seeds, "sets": list(names), "means": summarise(rows), "rows": rows}


def _kept(cell: Cell, table: Path, peers: Path | None, work: Path) -> dict[str, Any]:
    """Return the figures of a cell, from the file that keeps them where there is one."""
    path = work / cell.file
    if not path.exists():
        write_json(path, run_cell(cell, table, peers or Path()))
        sys.stdout.write(f"{cell.file}\n")
        sys.stdout.flush()
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {"set": cell.name, "method": cell.method, "seed": cell.seed, "pass": cell.which, **figures}


def _speed(args: argparse.Namespace) -> list[dict[str, Any]]:
    sizes = (10_000,) if args.quick else (100_000, 1_000_000)
    return [speed_cell(n, args.peers if n <= 100_000 else None) for n in sizes]


def _runs(args: argparse.Namespace) -> list[dict[str, Any]]:
    from replay_runs import run_sequences

    from anomaly.sweeps.folder import read_folder

    rows = []
    for name in args.sets or (("schonlau_sea",) if args.quick else SEQUENCES):
        for seed in args.seeds or ([0] if args.quick else [0, 1, 2]):
            path = args.work / f"runs-{name}-{seed}.json"
            if not path.exists():
                folder = read_folder(_shop(args.work) if name == "shop" else _root() / "sequences" / name)
                methods = args.methods or ("residual_gp", "weights", "router")
                write_json(path, run_sequences(folder, seed, args.overrides, tuple(methods)))
            rows.append(json.loads(path.read_text(encoding="utf-8")))
            sys.stdout.write(f"{json.dumps(rows[-1])}\n")
            sys.stdout.flush()
    return rows


def _shop(work: Path) -> Path:
    """Return a labelled folder of a simulated shop."""
    folder = work / "shop"
    if not (folder / "dataset.yaml").exists():
        from anomaly.commands.dispatch import dispatch

        dispatch(["simulate", f"out={folder}", "users=1500", "seed=11", "quiet=true"])
        (folder / "dataset.yaml").write_text(SHOP, encoding="utf-8")
    return folder


def _root() -> Path:
    folder = os.environ.get("ANOMALY_DATA")
    if not folder:
        raise SystemExit("ANOMALY_DATA is not set: it names the folder that holds aad/ and sequences/")
    return Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the training, for --part runs")
    parser.add_argument(
        "--part", choices=("tables", "tabular", "speed", "runs"), help="one part; tables and speed unless stated"
    )
    parser.add_argument("--sets", type=names, help="names of sets, comma-separated")
    parser.add_argument("--methods", type=names, help="names of methods, comma-separated")
    parser.add_argument("--passes", type=names, default=list(PASSES), help=f"{', '.join(PASSES)}; all unless stated")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")])
    parser.add_argument("--workers", type=int, default=1, help="cells side by side")
    parser.add_argument("--quick", action="store_true", help="a few minutes: two small sets, one seed")
    parser.add_argument("--peers", type=Path, default=HOME, help="environment of coniferest")
    parser.add_argument("--no-peers", action="store_true", help="leave coniferest out")
    parser.add_argument("--out", type=Path, default=result_path("replay"), help="result file; a table beside it")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the finished cells")
    return parser


if __name__ == "__main__":
    main()
