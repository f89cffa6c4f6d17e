"""Labelling by people: one case per screen, in a browser or a terminal.

In: a run, and a `LabelSession` over its items.
Out: verdicts in the session's label log.
"""
