"""Sequences or tables to rows of named numbers.

In: a `SequenceStore`, or the embedding array of a model.
Out: a `FeatureMatrix` (float32 and names), which the detectors on features read.
"""
