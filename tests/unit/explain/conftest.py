"""A small fitted ensemble of every kind of member, and what explains it."""

import numpy as np
import pytest

from anomaly.commands.compose import compose
from anomaly.commands.plan import plan
from anomaly.events.infer import infer_schema
from anomaly.events.readers import EventSource
from anomaly.explain.explainer import EnsembleExplainer
from anomaly.explain.reference import Reference
from anomaly.sequences.build import build_store
from anomaly.simulation.shop import Shop

SMALL = ["model.width=16", "trainer.max_epochs=2", "trainer=cpu", "ensemble.corrupted_events=1000"]
ROLES = ["events=shop", "events.time=time", "events.categorical=[event,category,device]", "events.numeric=[amount]"]


@pytest.fixture(scope="session")
def fitted():
    shop = Shop(users=40, days=14, sessions_per_user=5, anomaly_rate=0.05, camouflage=0.0, random_state=1).simulate()
    what = plan(compose("train", ["run=x", "events.path=x", *ROLES, *SMALL]))
    source = EventSource.from_frame(shop.events)
    prepared = build_store(source, infer_schema(source, what.schema), encoder=what.encoder)
    ensemble = what.ensemble.fit(prepared.store)
    return ensemble, prepared.store, what.encoder


@pytest.fixture(scope="session")
def explainer(fitted):
    ensemble, store, encoder = fitted
    p_value = ensemble.score(store).p_value
    return EnsembleExplainer(ensemble=ensemble, reference=Reference(ensemble, store, p_value), encoder=encoder)


@pytest.fixture(scope="session")
def odd(fitted):
    """Return the places of the oddest sequences."""
    ensemble, store, _ = fitted
    return np.argsort(-ensemble.score(store).score, kind="stable")[:12]


@pytest.fixture(scope="session")
def explained(explainer, fitted, odd):
    return explainer.explain(fitted[1], odd)
