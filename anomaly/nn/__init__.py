"""Pure torch: packed codes in, hidden states, log-probabilities and densities out. No Lightning, no Hydra."""
