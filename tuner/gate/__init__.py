"""Whether a tactic computes what its kernel declares.

- `drawing`: values that follow a rule of the declaration, or come from a function of it
- `inputs`: random inputs, and outputs that show what was not written
- `instances`: at which sizes to look for a wrong result
- `interpreter`: run a Triton kernel on the CPU: Triton's interpreter on numpy arrays, each access checked
- `judge`: what a correct result is, and at which sizes to look: the same for an interpreter and for a GPU
- `launching`: run a tactic on the CPU, launch after launch, on tensors that all its launches share
- `libdevice`: functions of libdevice as the correctness gate calculates them: one for every symbol that Triton
  exports
- `memory`: the memory that an interpreted kernel sees: every access is checked before it happens
- `rewriting`: kernels as the interpreter runs them: with their closure, and with the functions that it does not know
- `special`: special functions that numpy lacks, on float64 arrays
- `verifier`: check tactics on the CPU before they are timed, each distinct computation once
"""
