"""Hold the code of today against recorded tactics.

- `baseline`: the file that `tuner check` holds today's code against: readable, reviewable, with the winners' PTX
  beside it
- `compare`: hold one recorded tactic against what today's source compiles to: no GPU, and the same answer each time
- `facts`: what is compared of a compiled tactic when its code has changed
- `fingerprint`: what a launch executes, and when two of them execute the same
- `formats`: what checks look like: a table, JSON, JUnit XML, GitHub annotations with a step summary
- `lookup`: whether the tactic cache still serves a recorded winner
- `measure`: run the recorded code and today's in turns on one GPU
- `pytest_plugin`: `pytest --tuner-baseline FILE`: every rule for every problem that a baseline holds is a test
- `recompile`: what today's source and compiler make of recorded tactics
- `retune`: whether a recorded winner is still near the best that a short new search finds
- `rules`: which change of a fact is a regression: one rule for each way in which code gets slower
- `run`: check the problems of some configs against a baseline
- `setting`: what a check is made with
- `time_rule`: what two measurements of old and new code come to: the `time` rule
- `update`: write what today's code is into a baseline
- `verdict`: what a check comes to
"""
