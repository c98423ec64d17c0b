"""Everything kept on disk. Each document has one module that declares it, writes it and reads it.

- `cache`: the tactic cache, and lookups in it; `entry`: one tuned problem in it; `keys` and `nearest`: what entries are
  for, and how near to each other; `diff`: how two caches differ; `selection`: choosing among records.
- `journal`: the trials of a study while it runs; `study_data`: what it says beside parameters; `studies`: reading them.
- `results`: the outcome of tuning, and ``summary.json``; `trials`: ``trials.csv``; `portfolios`: ``portfolio.json``.
- `tables`: recorded tables in the formats of other tools.
- `files`: writing so that a reader sees the old content or the new.

The problem in all of them is described by `tuner.kernel.problem_data`.
"""
