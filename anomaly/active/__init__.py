"""Labels to a better ranking: what to ask next, and what the answers say of everything else.

In: `Items`, the scored sequences, events or rows of a table, and the verdicts of analysts.
Out: an `ActiveLearner`, whose posterior ranks the items anew after every verdict.
"""
