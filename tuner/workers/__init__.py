"""Child processes for work that may hang, crash or eat memory: what goes wrong costs one task.

- `child`: one child process, from the parent's side
- `serving`: what it does, from its own
- `pool`: many of them, for tasks that may run anywhere
- `limits`: how much memory and how large files it may take
- `faults`: what goes wrong, and whose fault it is
- `environment`: which environment variables a child inherits
"""
