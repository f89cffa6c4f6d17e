"""Everything that answers `decision_function`.

In: a `SequenceStore` (`reads = "sequences"`) or a `FeatureMatrix` (`reads = "features"`).
Out: (n,) float64 scores, higher is more anomalous, and `Statistics`, one column per candidate member.
"""
