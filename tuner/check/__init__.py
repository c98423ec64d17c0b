"""`tuner check`: hold the code of today against recorded tactics.

From the bottom: `facts` and `code` describe a compiled tactic and `baseline` what is recorded of one; `rules`
compares facts; `today` finds out what today's source makes of a record, `measure` runs old and new code in turns on a
GPU, and `retune` looks for something better. `run` puts all that together into one list of `verdict.Check`, which
`outputs` and `pytest_plugin` show. `record` writes baselines.
"""
