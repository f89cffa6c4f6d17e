"""What explanations are worth: fidelity, location, cost, the report, and patterns against typologies.

    ANOMALY_DATA=... python benchmarks/explain.py            # everything; runs are kept and used again
    ANOMALY_DATA=... python benchmarks/explain.py --quick    # small models, few sequences

Fidelity: the mean drop of the score when the first 10% or 20% of the events to look at, or to cut, are deleted, against
random events and against occlusion (every event left out by itself). Cost: against scoring, of sequences drawn from all
and of those that score highest, which are searched the most. Location: share of anomalous sequences whose first
event is marked, and that have a marked one among the first three. Labels are read for these figures alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from measure import RESULTS, result_path, stamp, write_json
from sklearn.metrics import adjusted_rand_score

from anomaly.artifact.explaining import explainer_of
from anomaly.artifact.run import Run
from anomaly.artifact.scoring import source_of
from anomaly.explain.clusters import ContributionClusters
from anomaly.explain.deletion import without
from anomaly.sequences.build import build_store
from anomaly.sweeps.folder import read_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.explain.explainer import EnsembleExplainer
    from anomaly.sequences.store import SequenceStore

    Floats = NDArray[np.float64]

SHOP = {"users": 1500, "seed": 11, "camouflage": 0.0, "anomaly_rate": 0.03}
LOCATED = ("proc_p2p_010", "proc_declarations_010", "proc_receipt_010", "shop")
FAITHFUL = ("schonlau_sea", "proc_declarations_010", "shop")
SHARES = (0.1, 0.2)
CUT_SHORT = ("trainer.max_time=00:00:02:00",)
"""Of the training that the report is compared with: against a longer one it would look the better."""
QUICK = ("model.width=64", "trainer.max_epochs=6", "ensemble.corrupted_events=3000")


def main() -> None:
    """Measure what is asked for, and write one JSON document; what it holds of other sets from today stays."""
    arguments = _arguments()
    path = result_path("explain", arguments.out)
    summary = json.loads(path.read_text()) if path.is_file() else {}
    rows = summary.setdefault("rows", {})
    for name in filter(None, arguments.sets.split(",")):
        rows[name] = _measure(name, arguments)
    if arguments.report:
        summary["report"] = _report(arguments)
    located = [rows[n]["location"] for n in LOCATED[:3] if n in rows]
    if located:
        summary["location_mean"] = {k: float(np.mean([row[k] for row in located])) for k in ("first", "first_three")}
    head = stamp("explain", "torch", "scikit-learn", "pyod")
    write_json(path, {**summary, **head, "quick": arguments.quick, "shop": SHOP})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(dict.fromkeys((*FAITHFUL, *LOCATED))))
    parser.add_argument("--data", type=Path, default=None, help="folder of the sets; $ANOMALY_DATA/sequences")
    parser.add_argument("--runs", type=Path, default=Path.home() / ".cache" / "anomaly" / "explain", help="kept runs")
    parser.add_argument("--sequences", type=int, default=0, help="anomalous sequences per set; 0 is all, 40 if quick")
    parser.add_argument("--report", type=int, default=0, help="sequences of the report that is timed, such as 100000")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def _measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    run, store, truth = _open(name, arguments)
    explainer = explainer_of(run)
    n = arguments.sequences or (40 if arguments.quick else 10**9)
    odd = _anomalous(store, truth, n)
    X = store.take(odd)
    e = explainer.explain(X)
    row: dict[str, Any] = {"sequences": len(X), "sums": _largest_gap(e), "cost": _cost(explainer, store)}
    if name in LOCATED:
        row["location"] = _location(X, e.rank_T, truth["marks"])
        row["field"] = _fields(X, e, truth) if "anomaly_attr" in truth["labels"].columns else None
    if name in FAITHFUL:
        row["fidelity"] = _fidelity(explainer, X.take(np.arange(min(len(X), 200))), e)
    if name == "shop":
        row["patterns"] = _patterns(run, explainer, store, truth)
    sys.stdout.write(f"{name}: {row}\n")
    sys.stdout.flush()
    return row


def _open(name: str, arguments: argparse.Namespace) -> tuple[Run, SequenceStore, dict[str, Any]]:
    """Return a trained run, the sequences that are explained, and the truth about them."""
    folder = arguments.runs / ("quick" if arguments.quick else "full")
    if name == "shop":
        home = folder / "shop_data"
        if not home.is_dir():
            _anomaly("simulate", f"out={home}", *(f"{k}={v}" for k, v in SHOP.items()))
        rows = pl.read_parquet(home / "events.parquet")
        late = pl.read_parquet(home / "labels.parquet").filter(pl.col("split") == "test")["sequence"].implode()
        events, roles, scored = home / "early.parquet", ["events=shop"], rows.filter(pl.col("session").is_in(late))
        # Sequences of the training would be scored without what they added to counts, and their edited copies with it.
        rows.filter(~pl.col("session").is_in(late)).write_parquet(events)
        marks = pl.read_parquet(home / "event_labels.parquet").filter(pl.col("label") > 0)
        labels, marks = (
            pl.read_parquet(home / "labels.parquet").rename({"sequence": "key"}),
            marks.rename({"sequence": "key"}),
        )
    else:
        data = (arguments.data or _data()) / name
        told = read_folder(data)
        events, scored = folder / f"{name}.parquet", None
        folder.mkdir(parents=True, exist_ok=True)
        rows = told.read_events()
        told.rows(rows, told.fit).write_parquet(events)
        if told.fit != told.score:
            scored = told.rows(rows, told.score)
        roles = [f"events.{role}={_text(value)}" for role, value in told.events.items()]
        labels = pl.read_parquet(data / "labels.parquet").rename({told.labels["id"]: "key"})
        marks = pl.DataFrame({"key": [], "position": []})
        if (data / "event_labels.parquet").is_file():
            marks = pl.read_parquet(data / "event_labels.parquet").rename({told.labels["id"]: "key"})
            marks = marks.filter(pl.col("event_mark") > 0)
    home = folder / f"run_{name}"
    if not (home / "manifest.json").is_file():
        _anomaly("train", f"run={home}", f"events.path={events}", *roles, *(QUICK if arguments.quick else ()))
    run = Run.load(home)
    store = (
        run.sequences
        if scored is None
        else build_store(source_of(scored), run.encoder.schema_, encoder=run.encoder).store
    )
    pairs = set(zip(marks["key"].to_list(), marks["position"].to_list(), strict=True))
    return run, store, {"labels": labels, "marks": pairs}


def _anomalous(store: SequenceStore, truth: dict[str, Any], most: int) -> NDArray[np.int64]:
    label = dict(zip(truth["labels"]["key"].to_list(), truth["labels"]["label"].to_list(), strict=True))
    odd = np.flatnonzero([label.get(key) == 1 for key in store.sequence_ids.to_list()])
    odd = odd[store.lengths[odd] > 2]
    return np.sort(np.random.default_rng(0).permutation(odd)[:most])


def _largest_gap(e: Any) -> float:
    by_event = np.add.reduceat(e.event_T, e.offsets[:-1])
    return float(max(np.abs(e.statistic_nm.sum(axis=1) - e.evidence_n).max(), np.abs(by_event - e.evidence_n).max()))


def _cost(explainer: EnsembleExplainer, store: SequenceStore, n: int = 1000) -> dict[str, dict[str, float]]:
    """Return the cost of up to a thousand sequences, drawn from all, and those that score highest."""
    _ = explainer.reference.medians
    drawn = np.random.default_rng(0).permutation(len(store))[:n]
    highest = np.argsort(-explainer.ensemble.score(store).score, kind="stable")[:n]
    return {name: _times(explainer, store.take(rows)) for name, rows in (("drawn", drawn), ("highest", highest))}


def _times(explainer: EnsembleExplainer, X: SequenceStore) -> dict[str, float]:
    """Return seconds to score and to explain, each the better of two."""
    score = min(_seconds(lambda: explainer.ensemble.score(X)) for _ in range(2))
    explain = min(_seconds(lambda: explainer.explain(X)) for _ in range(2))
    return {"sequences": len(X), "score": score, "explain": explain, "times": explain / score}


def _ranks(X: SequenceStore, rank_T: Floats) -> NDArray[np.int64]:
    """Return (T,) the place of each event within its sequence, the first to look at is 0."""
    order = np.lexsort((-rank_T, X.sequence_of_event()))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(X.offsets[:-1], X.lengths)
    return ranks


def _location(X: SequenceStore, rank_T: Floats, marks: set[tuple[Any, int]]) -> dict[str, float]:
    ids, owner = X.sequence_ids.to_list(), X.sequence_of_event()
    marked = np.array([(ids[n], int(p)) in marks for n, p in zip(owner, X.position(), strict=True)])
    ranks = _ranks(X, rank_T)
    there = np.bincount(owner, marked, len(X)) > 0
    found = {k: np.bincount(owner, marked & (ranks < k), len(X)) > 0 for k in (1, 3)}
    return {"first": float(found[1][there].mean()), "first_three": float(found[3][there].mean()), "n": int(there.sum())}


def _fields(X: SequenceStore, e: Any, truth: dict[str, Any]) -> dict[str, float] | None:
    """Return how often, of changed attributes, the field that carries most of the first event is one that was changed.

    Changed at that event where it is a changed one, else anywhere in the sequence.
    """
    labels = truth["labels"].filter(pl.col("anomaly_type") == "Attribute")
    told = {key: json.loads(text) for key, text in zip(labels["key"], labels["anomaly_attr"], strict=True)}
    ranks, hits = _ranks(X, e.rank_T), []
    for n, key in enumerate(X.sequence_ids.to_list()):
        if key in told:
            own = slice(int(X.offsets[n]), int(X.offsets[n + 1]))
            place = int(ranks[own].argmin())
            changed = [
                (int(k), name.replace(":", "_"))
                for k, name in zip(told[key]["index"], told[key]["attribute"], strict=True)
            ]
            here = {name for k, name in changed if k == place} or {name for _, name in changed}
            named = X.field_names[int(e.part_TF[own.start + place, : len(X.field_names)].argmax())]
            hits.append(named in here)
    return {"right": float(np.mean(hits)), "n": len(hits)} if hits else None


def _fidelity(explainer: EnsembleExplainer, X: SequenceStore, e: Any) -> dict[str, Any]:
    """Return by share the mean fall of every order, and of ours to cut what it lacks to occlusion's, with its error."""
    base = e.score_n[: len(X)]
    rng = np.random.default_rng(1)
    orders = {"look": e.rank_T[: X.n_events], "cut": e.cut_T[: X.n_events]}
    orders["occlusion"] = _occlusion(explainer, X, base)
    found: dict[str, Any] = {}
    for share in SHARES:
        falls = {name: _falls(explainer, X, order, share, base) for name, order in orders.items()}
        falls["random"] = np.mean([_falls(explainer, X, rng.random(X.n_events), share, base) for _ in range(3)], axis=0)
        behind = falls["occlusion"] - falls["cut"]
        row = {name: float(fall.mean()) for name, fall in falls.items()}
        row |= {"behind_occlusion": float(behind.mean()), "standard_error": float(behind.std() / np.sqrt(len(behind)))}
        found[f"{share:.0%}"] = row
    return found


def _falls(explainer: EnsembleExplainer, X: SequenceStore, rank_T: Floats, share: float, base: Floats) -> Floats:
    """Return (N,) how far the scores fall without a share of the events, those of the highest rank."""
    taken = np.maximum(np.ceil(share * X.lengths), 1).astype(np.int64)
    left = without(X, _ranks(X, rank_T) >= np.repeat(taken, X.lengths))
    falls: Floats = base - explainer.ensemble.score(left).score
    return falls


def _occlusion(explainer: EnsembleExplainer, X: SequenceStore, base: Floats) -> Floats:
    """Return (T,) how much the score falls when each event is left out by itself."""
    fall = np.zeros(X.n_events)
    for place in range(int(X.lengths.max())):
        rows = np.flatnonzero(X.lengths > place)
        part = X.take(rows)
        kept = np.ones(part.n_events, bool)
        kept[part.offsets[:-1] + place] = False
        fall[X.offsets[:-1][rows] + place] = base[rows] - explainer.ensemble.score(without(part, kept)).score
    return fall


def _patterns(run: Run, explainer: EnsembleExplainer, store: SequenceStore, truth: dict[str, Any]) -> dict[str, Any]:
    """Return the adjusted Rand index of the patterns among flagged true positives, at a budget of the true rate."""
    labels = truth["labels"]
    kinds = dict(zip(labels["key"].to_list(), labels["typology"].to_list(), strict=True))
    score = explainer.ensemble.score(store).score
    there = set(store.sequence_ids.to_list())
    odd = labels.filter((pl.col("label") == 1) & pl.col("key").is_in(list(there)))
    flagged = np.argsort(-score, kind="stable")[: len(odd)]
    found = ContributionClusters().fit(explainer.explain(store, flagged))
    names = [kinds.get(key) or "" for key in store.sequence_ids[flagged.tolist()].to_list()]
    hits = np.array([bool(name) and name != "normal" for name in names])
    truth_codes = np.unique(np.array(names)[hits], return_inverse=True)[1]
    return {
        "flagged": len(flagged),
        "true": int(hits.sum()),
        "clusters": len(found.clusters_),
        "in_none": float((found.labels_[hits] < 0).mean()),
        "adjusted_rand": float(adjusted_rand_score(truth_codes, found.labels_[hits])),
    }


def _report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return seconds of training and of the page, and its size, for a shop of that many sequences."""
    folder = arguments.runs / f"report_{arguments.report}"
    run, shop, kept = folder / "run", folder / "shop", folder / "train.json"
    if not shop.is_dir():
        _anomaly("simulate", f"out={shop}", f"n_events={8 * arguments.report}", "seed=5")
    if not kept.is_file():
        train = ("train", f"run={run}", f"events.path={shop / 'events.parquet'}", "events=shop", *CUT_SHORT)
        write_json(kept, _timed(*train, *(QUICK if arguments.quick else ())))
    train, made = json.loads(kept.read_text()), _timed("report", f"run={run}")
    size = (run / "report.html").stat().st_size / 1e6
    return {"train": train, "report": made, "share": made["cpu"] / train["cpu"], "megabytes": size}


def _timed(*arguments: str) -> dict[str, float]:
    """Return the seconds of a command, on the wall and of the processor, its children's among them."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    _anomaly(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - begun, "cpu": cpu}


def _anomaly(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "anomaly", *arguments, "quiet=true"], check=True)


def _seconds(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _data() -> Path:
    import os

    return Path(os.environ["ANOMALY_DATA"]) / "sequences"


if __name__ == "__main__":
    main()
