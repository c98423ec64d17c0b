"""Recorded tables of tactics and times, in the formats of other tools.

- `table`: a table as a search answers from it; `read`: which format a file has; `rows`: what the formats share.
- `t4`, `kernel_tuner`, `csv`: one format each; `write`: a file for each of several studies.
"""
