"""Training steps of pytorch-lifestream's next-event module; each line read is a turn, each line written its figures.

python lifestream_train.py DATA.npz CELL EVENTS
"""

from __future__ import annotations

import sys
import time
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

WIDTH, HEADS, DROPOUT = 128, 4, 0.1


def main() -> None:
    """Answer every line with the real events trained on, and the seconds and processor seconds that took."""
    data, cell, events = np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(int(data["threads"]))
    torch.manual_seed(0)
    batches, model = endless(data), module([int(size) for size in data["sizes"]], cell).train()
    model.log = lambda *args, **kwargs: None
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    for line in sys.stdin:
        begun, spent, seen = time.perf_counter(), time.process_time(), 0
        while seen < (events if line.strip() == "turn" else 1):
            batch = next(batches)
            optimizer.zero_grad()
            model.training_step(batch, 0).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seen += int(batch.seq_lens.sum())
        sys.stdout.write(f"{seen} {time.perf_counter() - begun} {time.process_time() - spent}\n")
        sys.stdout.flush()


def module(sizes: list[int], cell: str) -> Any:
    """Return the library's module at the width and depth of the other side, every field predicted."""
    from ptls.frames.gpt import GptPretrainModule
    from ptls.nn import RnnEncoder, TransformerEncoder, TrxEncoder

    tables = {f"field{k}": {"in": size + 1, "out": WIDTH} for k, size in enumerate(sizes)}
    reader = TrxEncoder(embeddings=tables, embeddings_noise=0.0, linear_projection_size=WIDTH)
    if cell == "gru":
        encoder = RnnEncoder(input_size=WIDTH, hidden_size=WIDTH, type="gru", is_reduce_sequence=False)
    else:
        encoder = TransformerEncoder(
            input_size=WIDTH,
            n_heads=HEADS,
            dim_hidden=4 * WIDTH,
            n_layers=3,
            dropout=DROPOUT,
            use_after_mask=True,
            is_reduce_sequence=False,
        )
    return GptPretrainModule(reader, encoder, head_hidden_size=WIDTH, seed_seq_len=0)


def endless(data: Any) -> Any:
    """Yield the library's own batches for ever, shuffled anew in every epoch."""
    from ptls.data_load.datasets import MemoryMapDataset
    from ptls.frames import PtlsDataModule
    from ptls.frames.gpt import GptDataset

    codes, offsets = data["codes"] + 1, data["offsets"]
    rows = [
        {f"field{k}": torch.from_numpy(column) for k, column in enumerate(codes[a:b].T.copy())}
        | {"event_time": torch.arange(int(b - a))}
        for a, b in pairwise(offsets)
    ]
    made = PtlsDataModule(
        train_data=GptDataset(MemoryMapDataset(data=rows), min_len=1, max_len=int(data["longest"])),
        train_num_workers=0,
        train_batch_size=int(data["batch"]),
    )
    loader = partial(made.train_dataloader)
    while True:
        yield from loader()


if __name__ == "__main__":
    main()
