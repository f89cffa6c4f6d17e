"""Residuals in; a bank of statistics per sequence, calibrated p-values and decisions out."""
