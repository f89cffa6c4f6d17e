from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema
from anomaly.sequences.build import build_store

SHAPES = {
    "schonlau_sea": (7500, 750_000, 51),
    "hdfs_loghub_partial": (22_421, 396_560, 1),
    "proc_declarations_010": (6449, 72_394, 1),
    "proc_p2p_010": (5000, 41_796, 1),
    "proc_receipt_010": (1434, 8642, 1),
    "btc_otc": (5881, 71_184, 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_stated_columns_of_real_sets(data: Path, name: str) -> None:
    folder = data / "sequences" / name
    roles = dict(OmegaConf.load(folder / "dataset.yaml").events)
    prepared = build_store(EventSource.open(folder / "events.parquet"), EventSchema.of(roles))
    store = prepared.store
    assert (len(store), store.n_events, store.n_entities) == SHAPES[name]
    assert store.sequence_ids.n_unique() == len(store)
    assert (store.codes < store.sizes).all()
    assert np.isfinite(store.values).all()
    assert not [
        d for d in prepared.encoder.drift(store.codes, store.extra["dtypes"]) if d.notable and d.field != "hour"
    ]
