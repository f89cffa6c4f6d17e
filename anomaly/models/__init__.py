"""Sequence models: packed batches in; a loss that Lightning trains on, residuals and embeddings out."""
