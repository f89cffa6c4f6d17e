"""One function per command; the only room that knows Hydra.

In: overrides such as ``run=runs/a``. Out: files, and an exit code: 0, 2 for what a user can mend, 130 for Ctrl-C.
"""
