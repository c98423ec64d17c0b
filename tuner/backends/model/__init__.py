"""Predict how long tactics take, without a GPU.

- `backend`: the backend for machines without a GPU: compile for a named device, check on the CPU, predict
- `integers`: integer arithmetic of PTX on many threads at once, for working out addresses and trip counts
- `predict`: predict how long a tactic takes, from its code, its launch and a description of the GPU
- `program`: the body of a PTX entry as instructions: what kind each is, and what it reads, writes and touches
- `trace`: run one block of a kernel's PTX on integers alone, to learn what its text does not say
- `traffic`: which level of the memory system serves a kernel's accesses, and how many bytes cross device memory
"""
