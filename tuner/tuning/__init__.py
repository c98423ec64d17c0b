"""A tuning job: its config, the search of each problem, and what several shapes share.

- `config`: configs: TOML files that say which kernel to tune, at which shapes, and how hard to try
- `cover`: the smallest set of tactics of which one is near the best at every shape: a set cover, solved exactly
- `finalists`: pick the winner among confirmed finalists, by a rule that never depends on luck
- `grid`: grids of shapes: ``M = { powers_of_two = [1, 4096] }`` or ``M = { values = [1, 7, 64] }``, many problems at
  once
- `hints`: what most often lies behind a first failure, said where no tactic of a problem is valid
- `job`: run a tuning job: open what it needs, tune each problem, keep what was found
- `loop`: tune one problem: search, then confirm the finalists against the default
- `neighbours`: what the shapes tuned so far tell about the next one: in which order to tune, and what to try first
- `options`: how hard a problem is searched
- `portfolio`: a portfolio: the fewest tactics of which one is near the best at every shape of a job
- `replay`: run the search on recorded tables and see how soon it comes close to the optimum
- `toml`: values as TOML spells them, which the standard library reads but does not write
"""
