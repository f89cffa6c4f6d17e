"""pytorch-lifestream: CoLES embeddings, learnt on the fit sequences alone, and an isolation forest on them."""

from __future__ import annotations

import sys
import time
from functools import partial

import numpy as np
import torch
from exchange import Exchange, Sequences, take

LONGEST = 512


def records(sequences: Sequences, task: Exchange) -> list[dict[str, torch.Tensor]]:
    """Return one record per sequence, as the library wants them; code 0 is its padding.

    Columns are named by their place: the library makes modules of their names, which hold no dot.
    """
    columns = {f"field{n}": sequences.events[f].to_numpy() + 1 for n, f in enumerate(task.told["fields"])}
    columns |= {f"value{n}": sequences.events[f"value.{v}"].to_numpy() for n, v in enumerate(task.told["values"])}
    gap = np.log1p(np.maximum(sequences.events["gap"].to_numpy(), 0)).astype(np.float32)
    found = []
    for start, end in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        end = min(end, start + LONGEST)
        record = {name: torch.from_numpy(np.ascontiguousarray(c[start:end])) for name, c in columns.items()}
        record |= {"gap": torch.from_numpy(gap[start:end]), "event_time": torch.arange(int(end - start))}
        found.append(record)
    return found


def main(folder: str) -> None:
    """Learn, embed, and score the embeddings."""
    import pytorch_lightning as pl
    from ptls.data_load.datasets import MemoryMapDataset, inference_data_loader
    from ptls.frames import PtlsDataModule
    from ptls.frames.coles import ColesDataset, CoLESModule
    from ptls.frames.coles.split_strategy import SampleSlices
    from ptls.nn import RnnSeqEncoder, TrxEncoder
    from sklearn.ensemble import IsolationForest

    task = take(folder)
    pl.seed_everything(task.told["seed"])
    fit, score = (records(task.sequences(name), task) for name in ("fit", "score"))
    encoder = TrxEncoder(
        embeddings_noise=0.003,
        numeric_values={"gap": "identity"} | {f"value{n}": "identity" for n in range(len(task.told["values"]))},
        embeddings={f"field{n}": {"in": size + 2, "out": 16} for n, size in enumerate(task.told["fields"].values())},
    )
    model = CoLESModule(
        seq_encoder=RnnSeqEncoder(trx_encoder=encoder, hidden_size=64, type="gru"),
        optimizer_partial=partial(torch.optim.Adam, lr=1e-3),
        lr_scheduler_partial=partial(torch.optim.lr_scheduler.StepLR, step_size=30, gamma=0.9),
    )
    slices = SampleSlices(split_count=5, cnt_min=3, cnt_max=200)
    kept = [record for record in fit if len(record["event_time"]) >= 3] or fit
    data = PtlsDataModule(
        train_data=ColesDataset(MemoryMapDataset(data=kept), splitter=slices),
        train_num_workers=0,
        train_batch_size=64,
    )
    trainer = pl.Trainer(
        max_epochs=task.option("epochs", 10),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    embed = partial(_embed, model, inference_data_loader)
    forest = IsolationForest(n_estimators=200, random_state=task.told["seed"]).fit(embed(fit))
    fitted = time.perf_counter()
    task.finish(-forest.score_samples(embed(score)), fitted)


@torch.no_grad()
def _embed(model: object, loader: object, rows: list[dict[str, torch.Tensor]]) -> np.ndarray:
    model.eval()
    return np.concatenate([model(batch).numpy() for batch in loader(rows, num_workers=0, batch_size=256)])


if __name__ == "__main__":
    main(sys.argv[1])
