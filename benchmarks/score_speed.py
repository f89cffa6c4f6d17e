"""Time of scoring with every statistic and the population pass, against the bare forward pass.

    python benchmarks/score_speed.py                 GRU and 3-layer transformer, width 128
    python benchmarks/score_speed.py --repeats 7 --sequences 1000

Both take the same token-budget batches of sequences with entities and times. The bare pass computes the surprisal of
every field and keeps it; `NeuralDetector.analyse` also yields entropies, tails, the time's transform, the pass with
entities unknown, all statistics of sequences and events, and embeddings. The weights are random: time does not ask.
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

from anomaly.detectors.neural import NeuralDetector
from anomaly.detectors.trained import SCORING_TOKENS
from anomaly.models.next_event import NextEventModel
from anomaly.sequences.batch import scoring_batches

if TYPE_CHECKING:
    from anomaly.sequences.store import SequenceStore

MOST = 2.5
LAYERS = {"gru": 1, "transformer": 3}
N_ENTITIES = 500
WARM = 500
"""Sequences of the turn that is not timed."""


def detector_for(cell: str, store: SequenceStore) -> NeuralDetector:
    """Return a detector with a model that has not been trained."""
    detector = NeuralDetector(cell=cell, layers=LAYERS[cell])  # type: ignore[arg-type]
    model = NextEventModel.for_store(store, cell=cell, layers=LAYERS[cell], width=detector.width).eval()
    detector.model_ = model
    detector.fields_ = (*model.predicted(store.field_names), *(("gap",) if model.gap_head is not None else ()))
    return detector


@torch.inference_mode()
def bare(detector: NeuralDetector, store: SequenceStore) -> int:
    """Run the forward pass alone and return how many events it saw."""
    reading = detector.model_.reading(detector.longest)
    batches = scoring_batches(store, SCORING_TOKENS, reading.longest, reading.overlap)
    kept = [detector.model_.surprisal(batch).numpy() for batch, _ in batches]
    assert sum(map(len, kept)) >= store.n_events
    return store.n_events


def compare(cell: str, store: SequenceStore, repeats: int) -> dict[str, Any]:
    """Return both rates, and how many times longer the whole takes than the bare pass."""
    torch.manual_seed(0)
    detector = detector_for(cell, store)

    few = store.take(np.arange(min(WARM, len(store))))

    def whole(turn: int) -> int:
        return len(detector.analyse(store if turn >= 0 else few).fields_TF)

    jobs = {"anomaly": whole, "bare": lambda turn: bare(detector, store if turn >= 0 else few)}
    rates = interleave(jobs, repeats)
    longer = ratio(rates, "bare", "anomaly")
    return {"cell": cell, "must": MOST, "time_ratio": longer, "holds": longer["median"] <= MOST, **rates}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="*", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=30_800, help="sequences of a turn; a million events")
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than the idle cores make both crawl")
    parser.add_argument("--out", type=Path, default=result_path("score_speed"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    store = speed_store(args.sequences, n_entities=N_ENTITIES, timed=True)
    document = stamp("score_speed", "torch", "numpy", "scipy")
    document |= {
        "what": "events per second of scoring; time of every statistic and both passes over that of one bare pass",
        "data": {"sequences": len(store), "events": store.n_events, "entities": N_ENTITIES, "sizes": SIZES},
        "threads": torch.get_num_threads(),
        "repeats": args.repeats,
        "figures": [],
    }
    for cell in args.cells:
        document["figures"].append(compare(cell, store, args.repeats))
        sys.stdout.write(json.dumps(document["figures"][-1]) + "\n")
        sys.stdout.flush()
    write_json(args.out, document)


if __name__ == "__main__":
    main()
