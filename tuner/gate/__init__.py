"""Whether a tactic computes what its kernel declares.

- `inputs`: random inputs, and outputs that show what was not written
- `instances`: at which sizes to look for a wrong result
- `interpreter`: run a Triton kernel on the CPU: Triton's interpreter on numpy arrays, each access checked
- `judge`: what a correct result is, and at which sizes to look: the same for an interpreter and for a GPU
- `verifier`: check tactics on the CPU before they are timed, each distinct computation once
"""
