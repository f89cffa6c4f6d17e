"""A run folder: write it, open it, verify it, score with it. In: fitted objects. Out: `Run`."""
