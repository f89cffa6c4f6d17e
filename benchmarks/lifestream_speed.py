"""Training throughput of the next-event models against pytorch-lifestream's, in one run, turn by turn.

    python benchmarks/peers/install.py lifestream    once: its environment
    python benchmarks/lifestream_speed.py            GRU and transformer, fields of evidence and one of 25,000 values
    python benchmarks/lifestream_speed.py --quick

Both sides train on the same sequences: forward, backward, clipping, an AdamW step, batches by their own loaders. The
peer's next-event module predicts every field from the history alone; ours also given the event's earlier fields. Ours
takes its turns twice, in the precision that a training chooses on this machine and in float32, which is the peer's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from measure import ROOT, result_path, stamp, write_json
from speed_data import SIZES, speed_store
from train_speed import LAYERS, Ours

from anomaly.models.training import multiplies_bf16

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

    Rates = tuple[float, float]

MUST = {("gru", SIZES[-1]): 4.0, ("transformer", SIZES[-1]): 7.0, ("gru", 25_000): 5.0, ("transformer", 25_000): 5.0}
SMALL, LARGE = 500, 25_000
LONGEST = 512
BATCH, SMALL_BATCH = 128, 32
"""Sequences of a batch of the peer; with 128 of them a field of 25,000 values takes it more than 10 GB."""
PRECISIONS = {"default": multiplies_bf16(), "float32": False}
"""Ours: whether in mixed bf16."""
PEER = Path(__file__).parent / "peers" / "lifestream_train.py"


class Peer:
    """The peer's training, in its own environment."""

    def __init__(self, python: Path, data: Path, cell: str, events: int) -> None:
        command = [str(python), str(PEER), str(data), cell, str(events)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def __enter__(self) -> Self:
        """Warm it up."""
        self.turn("warm")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.child.kill()
        self.child.wait()

    def turn(self, word: str = "turn") -> Rates:
        """Return events per second, and per second of processor time."""
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.write(word + "\n")
        self.child.stdin.flush()
        events, seconds, spent = map(float, self.child.stdout.readline().split())
        return events / seconds, events / spent


def store_with(size: int) -> SequenceStore:
    """Return the timing data with a last field of `size` codes."""
    return speed_store(sizes=(*SIZES[:-1], size))


def write_for_peer(store: SequenceStore, threads: int, path: Path) -> None:
    """Hand the codes over."""
    codes, offsets, sizes = np.asarray(store.codes), np.asarray(store.offsets), np.array(store.sizes)
    batch = SMALL_BATCH if sizes.max() >= LARGE else BATCH
    np.savez(path, codes=codes, offsets=offsets, sizes=sizes, longest=LONGEST, threads=threads, batch=batch)


def own_rates(ours: Ours) -> Rates:
    """Return events per second of one turn of ours, and per second of processor time."""
    begun, spent = time.perf_counter(), time.process_time()
    events = ours(0)
    return events / (time.perf_counter() - begun), events / (time.process_time() - spent)


def compare(cell: str, size: int, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the rates of all sides, and the ratios of the turns."""
    store = store_with(size)
    write_for_peer(store, args.threads, folder / "data.npz")
    sides = {name: Ours(cell, store, args.slice, half=half) for name, half in PRECISIONS.items()}
    for ours in sides.values():
        ours(-1)
    with Peer(args.peers / "lifestream" / "bin" / "python", folder / "data.npz", cell, args.slice) as peer:
        turns = [[*map(own_rates, sides.values()), peer.turn()] for _ in range(args.repeats)]
    rates = np.array(turns)  # turn, side, (wall, processor)
    found: dict[str, Any] = {"cell": cell, "layers": LAYERS[cell], "largest_field": size}
    for side, name in enumerate(sides):
        ratio, processor = np.moveaxis(rates[:, side] / rates[:, -1], 1, 0)
        found[name] = {
            **{"anomaly": float(np.median(rates[:, side, 0])), "ratio": float(np.median(ratio))},
            **{"smallest": float(ratio.min()), "largest": float(ratio.max())},
            **{"of_processor_time": float(np.median(processor))},
        }
    must = MUST.get((cell, size))
    lowest = min(found[name]["ratio"] for name in sides)
    return {
        **found,
        **{"pytorch_lifestream": float(np.median(rates[:, -1, 0]))},
        **{"must": must, "holds": None if must is None else lowest >= must},
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="*", default=["gru", "transformer"], choices=list(LAYERS))
    parser.add_argument("--sizes", nargs="*", type=int, default=[SIZES[-1], SMALL, LARGE], help="of the last field")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slice", type=int, default=20_000, help="events of a turn, at least")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on both sides")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "anomaly" / "peers")
    parser.add_argument("--quick", action="store_true", help="one short turn of the GRU")
    parser.add_argument("--out", type=Path, default=result_path("lifestream_speed"))
    args = parser.parse_args()
    if args.quick:
        args.cells, args.sizes, args.repeats, args.slice = ["gru"], [SIZES[-1]], 1, 3000
    if not (args.peers / "lifestream" / "installed.json").is_file():
        parser.error("pytorch-lifestream is not installed; run: python benchmarks/peers/install.py lifestream")
    torch.set_num_threads(args.threads)
    document = stamp("lifestream_speed", "torch", "pytorch-lightning") | {"peer": "pytorch-lifestream 0.7.0"}
    document |= {"threads": args.threads, "repeats": args.repeats, "figures": []}
    for cell in args.cells:
        for size in args.sizes:
            with tempfile.TemporaryDirectory() as folder:
                document["figures"].append(compare(cell, size, args, Path(folder)))
            sys.stdout.write(json.dumps(document["figures"][-1]) + "\n")
            sys.stdout.flush()
    write_json(args.out, document)


if __name__ == "__main__":
    main()
