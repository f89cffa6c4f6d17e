"""Labelled shop logs.

In: a size, a share of anomalies, how well these hide, a seed.
Out: `shop.Shop`, whose `simulate` yields a `simulated.Simulated`: the raw events, and the truth per session and event.
The way: `population` who shops, `habits` how a session's plan becomes events, `traffic` the honest sessions,
`purchases`, `crowds`, `accounts` and `payments` the eight typologies on top of `typology`.
"""
