"""What makes a training robust: average precision with anomalies among the training rows, one measure at a time.

    python benchmarks/robust.py            a simulated shop, three shares of anomalies, three seeds: every measure
    python benchmarks/robust.py --quick    a small shop, one share, one seed

The model trains on the log it then ranks, as `anomaly train` does; the figure is that of the neural member's own
statistics, joined, and of the whole ensemble. Finished cells lie in --work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import code, result_path, stamp, write_json

MEASURES: dict[str, dict[str, Any]] = {
    "default": {},
    "no trimming": {"model": {"trim": 0.0}},
    "no dropout": {"model": {"dropout": 0.0}},
    "no weight decay": {"model": {"weight_decay": 0.0}},
    "augment=light": {"augment": "light"},
    "augment=strong": {"augment": "strong"},
    "adversarial 0.05": {"model": {"adversarial": 0.05}},
    "adversarial 0.2": {"model": {"adversarial": 0.2}},
}
SHARES = (0.01, 0.05, 0.1)
WORK = Path(__file__).parent / "work" / "robust"


def cell(measure: str, share: float, seed: int, *, quick: bool) -> dict[str, Any]:
    """Return the figures of one measure on one shop."""
    from anomaly.commands.compose import compose
    from anomaly.commands.plan import plan
    from anomaly.events.infer import infer_schema
    from anomaly.events.readers import EventSource
    from anomaly.metrics.ranking import average_precision
    from anomaly.sequences.build import build_store
    from anomaly.simulation.shop import Shop

    shop = Shop(users=200 if quick else 800, anomaly_rate=share, camouflage=0.4, random_state=100 + seed).simulate()
    values, arguments = _configuration(MEASURES[measure], seed, quick=quick)
    what = plan(compose("train", arguments, values))
    source = EventSource.from_frame(shop.events)
    store = build_store(source, infer_schema(source, what.schema), encoder=what.encoder).store
    begun = time.perf_counter()
    scored = what.ensemble.fit(store).score(store)
    labels = store.sequence_ids.alias("sequence").to_frame().join(shop.labels, on="sequence", maintain_order="left")
    truth = labels["label"].to_numpy()
    own = [k for k, name in enumerate(scored.member_names) if name.startswith("next_event.")]
    return {
        "ensemble": round(average_precision(truth, scored.score), 5),
        "model": round(average_precision(truth, scored.member_scores[:, own].sum(1)), 5),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _configuration(options: dict[str, Any], seed: int, *, quick: bool) -> tuple[dict[str, Any], list[str]]:
    arguments = ["events=shop", "detector=counts", "trainer=cpu"]
    arguments += [f"augment={options['augment']}"] if "augment" in options else []
    arguments += [f"model.{key}={value}" for key, value in options.get("model", {}).items() if key != "weight_decay"]
    arguments += [
        f"+model.weight_decay={value}" for key, value in options.get("model", {}).items() if key == "weight_decay"
    ]
    arguments += ["model.width=32", "trainer.max_epochs=3", "ensemble.corrupted_events=2000"] if quick else []
    return {"run": "run", "events.path": None, "seed": seed}, arguments


def main(arguments: list[str] | None = None) -> None:
    """Run what is not finished, and write the result and its table."""
    args = _parser().parse_args(arguments)
    shares, seeds = (SHARES[1:2], 1) if args.quick else (SHARES, args.seeds)
    rows = []
    for measure in args.measures:
        for share in shares:
            for seed in range(seeds):
                name = f"{measure}-{share}-{seed}-{code()['sources']}{'-quick' if args.quick else ''}.json"
                path = args.work / name.replace(" ", "_")
                if not path.exists():
                    write_json(path, cell(measure, share, seed, quick=args.quick))
                rows.append({"measure": measure, "share": share, "seed": seed, **json.loads(path.read_text())})
                sys.stdout.write(f"{rows[-1]}\n")
                sys.stdout.flush()
    write_json(args.out, stamp("robust", "torch", "numpy") | {"quick": args.quick, "rows": rows})
    args.out.with_suffix(".md").write_text(table(rows) + "\n", encoding="utf-8")
    sys.stdout.write("\n" + table(rows) + "\n")


def table(rows: list[dict[str, Any]]) -> str:
    """Return means over seeds: model / ensemble, a line per measure."""
    shares = list(dict.fromkeys(row["share"] for row in rows))
    lines = ["| measure | " + " | ".join(f"{share:.0%} anomalous" for share in shares) + " |"]
    lines.append("|---" * (len(shares) + 1) + "|")
    for measure in dict.fromkeys(row["measure"] for row in rows):
        cells = []
        for share in shares:
            own = [row for row in rows if row["measure"] == measure and row["share"] == share]
            cells.append(" / ".join(f"{np.mean([r[k] for r in own]):.3f}" for k in ("model", "ensemble")))
        lines.append(f"| {measure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names: Any = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--measures", type=names, default=list(MEASURES), help="comma-separated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small shop, one share, one seed")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the finished cells")
    parser.add_argument("--out", type=Path, default=result_path("robust"), help="result file; a table beside it")
    return parser


if __name__ == "__main__":
    main()
