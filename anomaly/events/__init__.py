"""Raw rows to typed, encoded columns.

In: a file, a folder, a glob or a frame of events, and an `EventSchema` that says what the columns are.
Out: an `EventEncoder` that turns batches of rows into codes (T, F) and values (T, G), and a table of findings.
"""
