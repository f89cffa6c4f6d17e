"""Draw docs/ranking.png from a run of the simulated shop: python scripts/picture.py SHOP RUN."""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = ("#d1495b", "#edae49", "#00798c", "#66a182", "#8d5a97", "#e07a1f", "#2e4057", "#b56576")


def draw(shop: Path, run: Path, out: Path) -> None:
    labels = pl.read_parquet(shop / "labels.parquet").select("sequence", "label", "typology")
    scores = pl.read_parquet(run / "scores.parquet").join(labels, on="sequence").sort("first_time")
    time, score = scores["first_time"].to_numpy(), scores["score"].to_numpy()
    usual = (scores["label"] == 0).to_numpy()
    figure, axes = plt.subplots(figsize=(11, 4.6), layout="constrained")
    axes.scatter(time[usual], score[usual], s=4, c="#b8c0c8", linewidths=0, rasterized=True, label="ordinary sessions")
    for colour, kind in zip(COLOURS, sorted(scores.filter(label=1)["typology"].unique()), strict=False):
        mine = (scores["typology"] == kind).fill_null(False).to_numpy() & ~usual
        axes.scatter(time[mine], score[mine], s=26, c=colour, edgecolors="white", linewidths=0.5, label=_name(kind))
    cut = float(np.min(score[scores["flagged"].to_numpy()], initial=score.max()))
    axes.axhline(cut, color="#444", linewidth=0.8, linestyle="--")
    axes.annotate("flagged above", (0.004, cut), xycoords=("axes fraction", "data"), va="bottom", fontsize=8)
    axes.set(ylabel="score: -log10 p", xmargin=0.01, ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)
    figure.savefig(out, dpi=130)


def _name(kind: str) -> str:
    return kind.replace("_", " ")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).parents[1] / "docs" / "ranking.png")
