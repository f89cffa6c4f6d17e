"""Competitors over data sets, seeds and label budgets: one cell each, judged the same way, kept for good.

In: labelled folders and tables, and competitors (detectors, the whole pipeline, programs of other people).
Out: a folder with one Parquet row per cell, and the leaderboard drawn from it.
"""
