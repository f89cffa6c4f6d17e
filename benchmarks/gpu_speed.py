"""Training and scoring on a CUDA device, against what the device was measured to do.

    python benchmarks/gpu_speed.py                   transformer of width 256 with 4 layers, 4M events
    python benchmarks/gpu_speed.py --quick           small, to see that it runs

Two ceilings are measured first: a large bf16 product (operations a second) and a large copy (bytes a second, read and
written). Of a turn are counted the operations of its matrix products and of attention, and the fewest bytes that it
must move: what the backward pass reads of the forward pass is written once and read once, and the optimiser reads
weight, gradient and both moments and writes all but the gradient. The share of a ceiling is that count over the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from measure import result_path, stamp, write_json
from speed_data import MEAN_LENGTH, SIZES, speed_store
from torch.utils.flop_counter import FlopCounterMode

from anomaly.detectors.neural import NeuralDetector
from anomaly.detectors.trained import SCORING_TOKENS_ON_DEVICE
from anomaly.models.next_event import NextEventModel
from anomaly.sequences.batch import cut
from anomaly.sequences.datamodule import scoring_batches
from anomaly.sequences.device import DeviceColumns
from anomaly.sequences.sampler import token_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly.sequences.batch import SequenceBatch
    from anomaly.sequences.store import SequenceStore

WIDTH, LAYERS, HEADS = 256, 4, 4
TOKENS = (16_384, 65_536, 262_144)
"""Padded events of a batch; `batch_tokens=auto` takes the first at most on a CPU."""
DEVICE = torch.device("cuda")


def ceilings(size: int) -> dict[str, float]:
    """Return TFLOP/s of a bf16 product and TB/s of a copy."""
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(size, 16 * size, device=DEVICE)
    target = torch.empty_like(source)
    product, copy = _seconds(lambda: a @ b), _seconds(lambda: target.copy_(source))
    return {
        "bf16_tflops": round(2 * size**3 / product / 1e12, 1),
        "copy_tb_per_s": round(2 * source.nbytes / copy / 1e12, 3),
    }


def _seconds(work: Callable[[], Any], repeats: int = 20) -> float:
    """Return the median time of some work on the device."""
    times = []
    for turn in range(repeats + 3):
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        work()
        ended.record()
        torch.cuda.synchronize()
        if turn >= 3:
            times.append(begun.elapsed_time(ended) / 1e3)
    return float(np.median(times))


class Training:
    """Steps of the model's own training on batches that are gathered on the device."""

    def __init__(self, store: SequenceStore, tokens: int, *, compiled: bool) -> None:
        torch.manual_seed(0)
        self.model = NextEventModel.for_store(
            store, cell="transformer", width=WIDTH, layers=LAYERS, heads=HEADS, dropout=0.1
        ).to(DEVICE)
        self.model.train()
        if compiled:
            losses = torch.compile(self.model.sequence_losses, dynamic=True)
            self.model.sequence_losses = losses  # type: ignore[method-assign]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
        self.columns, self.pieces = DeviceColumns(store, DEVICE), cut(store, 512)
        self.batches = token_batches(self.pieces.lengths, tokens, np.random.default_rng(0))
        self.turn = 0

    def batch(self) -> SequenceBatch:
        """Return the next batch."""
        self.turn += 1
        return self.columns.collate(self.pieces, self.batches[self.turn % len(self.batches)])

    def step(self, batch: SequenceBatch) -> None:
        """Do one step."""
        with torch.autocast("cuda", torch.bfloat16):
            loss = self.model.training_loss(batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def events_per_second(self, events: int) -> float:
        """Train on about so many events; batches are made and queued while the device works."""
        for _ in range(8):
            self.step(self.batch())
        torch.cuda.synchronize()
        begun, seen = time.perf_counter(), 0
        while seen < events:
            batch = self.batch()
            self.step(batch)
            seen += len(batch.codes_TF)
        torch.cuda.synchronize()
        return seen / (time.perf_counter() - begun)

    def operations(self) -> float:
        """Return operations per event, forward and backward, of matrix products and attention."""
        batch = self.batch()
        with FlopCounterMode(display=False) as counter:
            self.step(batch)
        return (counter.get_total_flops() + 3 * LAYERS * _attention(batch)) / len(batch.codes_TF)

    def bytes(self) -> float:
        """Return the fewest bytes per event that a step moves."""
        batch, kept = self.batch(), {}

        def keep(x: torch.Tensor) -> torch.Tensor:
            if x.is_cuda and not isinstance(x, torch.nn.Parameter):
                kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            self.step(batch)
        weights = sum(p.nbytes for p in self.model.parameters())
        return (2 * sum(kept.values()) + 9 * weights) / len(batch.codes_TF)


def _attention(batch: SequenceBatch) -> float:
    """Return the operations of one causal layer's two products, forward: half of each square."""
    return float((2 * (batch.lengths_N + 1).square() * WIDTH).sum())


def fitting(store: SequenceStore, *, compiled: bool) -> dict[str, Any]:
    """Return events per second of training as `anomaly train` does it: Lightning, validation, checkpoints and all."""
    epochs = 6
    detector = NeuralDetector(
        cell="transformer", width=WIDTH, layers=LAYERS, heads=HEADS, longest=512, compile=compiled, max_time=None
    )
    detector.set_params(max_epochs=epochs, patience=epochs)
    rng = np.random.default_rng(0)
    held_out = store.take(np.sort(rng.choice(len(store), len(store) // 20, replace=False)))
    begun = time.perf_counter()
    detector.fit(store, held_out=held_out)
    seconds = time.perf_counter() - begun
    return {
        "compiled": compiled,
        "epochs": len(detector.curve_),
        "events_per_second": round(store.n_events * len(detector.curve_) / seconds),
    }


def scoring(store: SequenceStore) -> dict[str, Any]:
    """Return events per second of every statistic, and of the forward pass alone."""
    torch.manual_seed(0)
    detector = NeuralDetector(cell="transformer", width=WIDTH, layers=LAYERS, heads=HEADS, longest=512)
    model = NextEventModel.for_store(store, cell="transformer", width=WIDTH, layers=LAYERS, heads=HEADS)
    detector.model_ = model.to(DEVICE).eval()
    detector.fields_ = (*model.predicted(store.field_names), *(("gap",) if model.gap_head is not None else ()))

    @torch.inference_mode()
    def bare() -> None:
        reading = model.reading(detector.longest)
        for batch, _ in scoring_batches(store, SCORING_TOKENS_ON_DEVICE, reading.longest, reading.overlap):
            model.surprisal(batch.to(DEVICE)).cpu()

    rates = {}
    for name, work in (("anomaly", lambda: detector.analyse(store)), ("bare", bare)):
        work()
        torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        rates[name] = round(store.n_events / (time.perf_counter() - begun))
    return {"events_per_second": rates, "time_ratio": round(rates["bare"] / rates["anomaly"], 2)}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print where the device spends its time")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no CUDA device here")
    events = 200_000 if args.quick else args.events
    store = speed_store(int(events / MEAN_LENGTH), n_entities=500, timed=True)
    most = ceilings(2_048 if args.quick else 8_192)
    document = stamp("gpu_speed", "torch", "numpy", "pytorch-lightning") | {
        "device": torch.cuda.get_device_name(),
        "what": "events per second of training and scoring; shares of the ceilings that were measured first",
        "model": {"cell": "transformer", "width": WIDTH, "layers": LAYERS, "heads": HEADS},
        "data": {"sequences": len(store), "events": store.n_events, "sizes": SIZES},
        "ceilings": most,
        "training": [],
    }
    for tokens in TOKENS[: 1 if args.quick else None]:
        counted = Training(store, tokens, compiled=False)
        operations, moved = counted.operations(), counted.bytes()
        for compiled in (False, True):
            begun = time.perf_counter()
            rate = Training(store, tokens, compiled=compiled).events_per_second(store.n_events)
            figure = {
                "batch_tokens": tokens,
                "compiled": compiled,
                "events_per_second": round(rate),
                "mflop_per_event": round(operations / 1e6, 1),
                "kilobytes_per_event": round(moved / 1e3, 1),
                "of_bf16_ceiling": round(operations * rate / most["bf16_tflops"] / 1e12, 3),
                "of_copy_ceiling": round(moved * rate / most["copy_tb_per_s"] / 1e12, 3),
                "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
                "seconds_with_warm_up": round(time.perf_counter() - begun, 1),
            }
            document["training"].append(figure)
            sys.stdout.write(json.dumps(figure) + "\n")
            sys.stdout.flush()
    document["fitting"] = [fitting(store, compiled=compiled) for compiled in (False, True)]
    sys.stdout.write(json.dumps(document["fitting"]) + "\n")
    document["scoring"] = scoring(store)
    sys.stdout.write(json.dumps(document["scoring"]) + "\n")
    if args.profile:
        _profile(Training(store, TOKENS[-1], compiled=True))
    write_json(args.out or result_path("gpu_speed", hardware=_device_name()), document)


def _device_name() -> str:
    """Return the device's name as file names have it, such as h100."""
    words = torch.cuda.get_device_name().lower().replace("nvidia", "").split()
    return "".join(c for c in words[0] if c.isalnum()) if words else "gpu"


def _profile(training: Training) -> None:
    for _ in range(3):
        training.step(training.batch())
    with torch.profiler.profile() as seen:
        for _ in range(5):
            training.step(training.batch())
        torch.cuda.synchronize()
    sys.stdout.write(seen.key_averages().table(sort_by="self_cuda_time_total", row_limit=25, max_name_column_width=60))


if __name__ == "__main__":
    main()
