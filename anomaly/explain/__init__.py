"""Why this user: evidence split into parts that add up, and what would have been usual instead.

In: a fitted ensemble and the sequences to explain.
Out: what each statistic, event and field adds to the evidence; what was expected; reason codes; clusters.
"""
