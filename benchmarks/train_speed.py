"""Training throughput of the next-event model, against a bare PyTorch loop of the same model on padded random batches.

    python benchmarks/train_speed.py                 GRU and 3-layer transformer, width 128
    python benchmarks/train_speed.py --repeats 3 --slice 20000
    python benchmarks/train_speed.py --precision     bf16-mixed against float32 in our own training instead

Both sides do forward, backward, clipping and an AdamW step. Ours takes the batches of `SequenceDataModule`, as training
does. The bare loop has the same layers, draws 128 sequences at random, pads them to the longest, computes the padded
positions too and masks them in the loss. Both count real events only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from measure import result_path, stamp, write_json
from speed_data import SIZES, interleave, ratio, speed_store
from torch import Tensor, nn

from anomaly.models.next_event import NextEventModel
from anomaly.sequences.datamodule import SequenceDataModule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anomaly.sequences.batch import SequenceBatch
    from anomaly.sequences.store import SequenceStore

WIDTH, HEADS, DROPOUT, BATCH = 128, 4, 0.1, 128
MUST = {"gru": 4.0, "transformer": 6.0}
LAYERS = {"gru": 1, "transformer": 3}


class BareModel(nn.Module):
    """The layers of the next-event model on padded codes (N, L, F): embedding, encoder, heads field by field."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, WIDTH) for size in SIZES)
        self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT)
        self.start = nn.Parameter(torch.zeros(WIDTH))
        self.cell = cell
        if cell == "gru":
            self.encoder: nn.Module = nn.GRU(WIDTH, WIDTH, LAYERS[cell], batch_first=True)
        else:
            self.encoder = nn.ModuleList(BareBlock() for _ in range(LAYERS[cell]))
            self.last_norm = nn.LayerNorm(WIDTH)
        self.base = nn.Linear(WIDTH, WIDTH)
        self.earlier = nn.ModuleList(nn.Embedding(size, WIDTH) for size in SIZES)
        self.outputs = nn.ModuleList(nn.Linear(WIDTH, size) for size in SIZES)
        self.end = nn.Linear(WIDTH, 1)

    def forward(self, codes_NLF: Tensor, real_NL: Tensor) -> Tensor:
        """Return the mean loss over real events."""
        x_NLD = sum(table(codes_NLF[..., f]) for f, table in enumerate(self.tables))
        states_NMD = self._encode(self.dropout(self.norm(x_NLD)))
        before_NLD, after_NLD = states_NMD[:, :-1], states_NMD[:, 1:]
        seen_NLD, loss_NL = self.base(before_NLD), torch.zeros_like(real_NL, dtype=torch.float32)
        for f, output in enumerate(self.outputs):
            context = self.dropout(nn.functional.gelu(seen_NLD))
            logits = output(context).flatten(0, 1)
            loss_NL = loss_NL + nn.functional.cross_entropy(
                logits, codes_NLF[..., f].flatten(), reduction="none"
            ).view_as(loss_NL)
            seen_NLD = seen_NLD + self.earlier[f](codes_NLF[..., f])
        ends_NL = real_NL & ~nn.functional.pad(real_NL[:, 1:], (0, 1))
        end_logit = self.end(after_NLD)[..., 0]
        end_NL = nn.functional.binary_cross_entropy_with_logits(end_logit, ends_NL.float(), reduction="none")
        return ((loss_NL + end_NL) * real_NL).sum() / real_NL.sum()

    def _encode(self, x_NLD: Tensor) -> Tensor:
        start_N1D = self.start.expand(len(x_NLD), 1, -1)
        if self.cell == "gru":
            hidden_NLD, _ = self.encoder(x_NLD, start_N1D.transpose(0, 1).contiguous())
            return torch.cat([start_N1D, hidden_NLD], dim=1)
        x_NMD = torch.cat([start_N1D, x_NLD], dim=1)
        frequency = 10_000.0 ** -(torch.arange(0, WIDTH // HEADS, 2) / (WIDTH // HEADS))
        angle_ME = torch.outer(torch.arange(x_NMD.shape[1]), frequency)
        for block in self.encoder:  # type: ignore[attr-defined]
            x_NMD = block(x_NMD, angle_ME.cos(), angle_ME.sin())
        encoded: Tensor = self.last_norm(x_NMD)
        return encoded


class BareBlock(nn.Module):
    """A pre-norm causal block with rotary positions and no dropout within attention, as in the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x_NMD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return (N, M, D)."""
        N, M, _ = x_NMD.shape
        q, k, v = self.qkv(self.norm1(x_NMD)).view(N, M, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_NMD = x_NMD + self.dropout(self.out(mixed.transpose(1, 2).reshape(N, M, WIDTH)))
        return x_NMD + self.dropout(self.mlp(self.norm2(x_NMD)))  # type: ignore[no-any-return]


def rotate(q: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys by their position."""
    a, b = q.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Bare:
    """The bare loop; a turn goes on until it has seen enough real events."""

    def __init__(self, cell: str, store: SequenceStore, events: int) -> None:
        self.store, self.events = store, events
        self.longest = int(store.lengths.max())
        self.model = BareModel(cell).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3, weight_decay=0.01)
        self.rng = np.random.default_rng(0)

    def __call__(self, turn: int) -> int:
        """Train on about `events` events and return how many they were."""
        seen = 0
        while seen < (self.events if turn >= 0 else 1):
            codes, real = self._batch()
            _step(self.model(codes, real), self.model, self.optimizer)
            seen += int(real.sum())
        return seen

    def _batch(self) -> tuple[Tensor, Tensor]:
        chosen = self.rng.integers(0, len(self.store), BATCH)
        parts = [self.store.codes[self.store.offsets[n] : self.store.offsets[n + 1]] for n in chosen]
        codes = nn.utils.rnn.pad_sequence([torch.from_numpy(part).long() for part in parts], batch_first=True)
        lengths = torch.tensor([len(part) for part in parts])
        return codes, torch.arange(codes.shape[1])[None] < lengths[:, None]


class Ours:
    """The model's own training step on the data module's own batches."""

    def __init__(self, cell: str, store: SequenceStore, events: int, *, half: bool = False) -> None:
        self.events, self.half = events, half
        self.model = NextEventModel.for_store(
            store, cell=cell, layers=LAYERS[cell], width=WIDTH, heads=HEADS, dropout=DROPOUT
        ).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
        # The budget that the detector chooses for this many events.
        tokens = int(np.clip(store.n_events // 60, 256, 16_384))
        self.data = SequenceDataModule(train=store, held_out=store, tokens=tokens, longest=512)
        self.batches = self._endless()

    def __call__(self, turn: int) -> int:
        """Train on about `events` events and return how many they were."""
        seen = 0
        while seen < (self.events if turn >= 0 else 1):
            batch = next(self.batches)
            # What Lightning's bf16-mixed does.
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                loss = self.model.training_loss(batch)
            _step(loss, self.model, self.optimizer)
            seen += len(batch.codes_TF)
        return seen

    def _endless(self) -> Iterator[SequenceBatch]:
        epoch = 0
        while True:
            loader: Any = self.data.train_dataloader()
            loader.sampler.set_epoch(epoch)
            yield from loader
            epoch += 1


def _step(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def compare(cell: str, store: SequenceStore, repeats: int, events: int) -> dict[str, Any]:
    """Return both rates and their ratio."""
    torch.manual_seed(0)
    rates = interleave({"anomaly": Ours(cell, store, events), "bare": Bare(cell, store, events)}, repeats)
    faster = ratio(rates, "anomaly", "bare")
    return {"cell": cell, "must": MUST[cell], "ratio": faster, "holds": faster["median"] >= MUST[cell], **rates}


def compare_precision(cell: str, store: SequenceStore, repeats: int, events: int) -> dict[str, Any]:
    """Return the rates of training in float32 and in mixed bf16, and the ratio of the second to the first."""
    jobs = {}
    for name, half in (("float32", False), ("bf16", True)):
        torch.manual_seed(0)
        jobs[name] = Ours(cell, store, events, half=half)
    rates = interleave(jobs, repeats)
    return {"cell": cell, "ratio": ratio(rates, "bf16", "float32"), **rates}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="*", default=list(MUST), choices=MUST)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--slice", type=int, default=20_000, help="events of a turn, at least")
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than the idle cores make both crawl")
    parser.add_argument("--precision", action="store_true", help="compare bf16-mixed with float32")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    theme = "train_precision" if args.precision else "train_speed"
    torch.set_num_threads(args.threads)
    store = speed_store()
    sides = "mixed bf16 to float32" if args.precision else "the next-event model to a bare loop"
    document = stamp(theme, "torch", "numpy", "pytorch-lightning")
    document |= {
        "what": f"events per second of training steps; ratio of {sides}, turn by turn",
        "bf16": {"avx512": torch.cpu._is_avx512_bf16_supported(), "amx": torch.cpu._is_amx_tile_supported()},
        "data": {
            "sequences": len(store),
            "events": store.n_events,
            "longest": int(store.lengths.max()),
            "sizes": SIZES,
        },
        "threads": torch.get_num_threads(),
        "repeats": args.repeats,
        "figures": [],
    }
    for cell in args.cells:
        found = (compare_precision if args.precision else compare)(cell, store, args.repeats, args.slice)
        document["figures"].append(found)
        sys.stdout.write(json.dumps(document["figures"][-1]) + "\n")
        sys.stdout.flush()
    write_json(args.out or result_path(theme), document)


if __name__ == "__main__":
    main()
