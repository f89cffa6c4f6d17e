"""Lightning modules: packed batches in; a loss to train on, residuals per event and embeddings per sequence out."""
