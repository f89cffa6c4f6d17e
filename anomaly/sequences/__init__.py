"""Columns to ragged sequences, and these to splits, damage and batches.

In: an `EventSource` and its `EventSchema`.
Out: a `SequenceStore` (values and offsets, memory-mapped); what of it is fitted and what is held out (`split`: the
latest of each entity, the latest of all, or whole entities); damaged copies; a `SequenceBatch` for a model.
"""
