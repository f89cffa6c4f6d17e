"""Many detectors in; one calibrated score per item, what each member is worth, and the power report out."""
