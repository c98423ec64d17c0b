"""What a kernel declares, and a problem of it.

- `alias`: outputs that are inputs, changed in place
- `alternatives`: one operator with several sources: each a complete declaration, and a parameter that chooses among
  them
- `arguments`: a kernel's run-time arguments by name: what its launch passes, and what hooks and heuristics look at
- `arith`: launch arithmetic that is written once and evaluated on more than one kind of integer
- `autotune`: kernels under `@triton.autotune` and `@triton.heuristics`, as they are
- `chain`: operators of several launches: what a chain declares
- `constants`: the values of a source's constants: what a problem, a tactic and the source's own heuristics make of
  them
- `drafts`: make ordinary kernels of the launches of an operator: each is told what it depends on, and no more
- `expressions`: arithmetic in the text of a declaration, such as the extents of a shape
- `extents`: the extents of a kernel's tensors: how dimensions follow from them, and whether sizes leave them elements
- `fill`: the launch that gives a tensor the value that it starts with
- `identity`: what identifies a kernel: the hash that its cache entries and verdicts are kept under
- `kernel`: what a kernel declares: one operator with its source, tensors, launch, space, default and reference
- `launch`: how a kernel is started: grid, block, shared memory and extra integers
- `loader`: find a kernel in a Python file or module. Only a file or module the user names is executed
- `parts`: what an operator is made of: launches in order, each an ordinary kernel that takes some of its tensors
- `problem`: a kernel at given shapes and data types: what is tuned, and what a cached tactic is good for
- `problem_data`: a problem as plain data: the one description that files hold, and that is compared, joined and
  hashed
- `references`: a problem as plain data, for worker processes: a kernel holds functions, which cannot be sent
- `scratch`: the scratch memory that code needs and no parameter of it takes: an output that is added
- `siblings`: import a file together with the modules beside it, apart from those of any other folder
- `stand_in`: what heuristics and pruning hooks see in place of the arguments of a launch
- `tensor`: inputs and outputs of a kernel: their shapes and types, and how exact an output has to be
- `values`: what an input holds when a kernel is checked and timed: rules for integers that are offsets, lengths or
  places
- `whole_tiles`: dimensions that tiles have to divide: kernels that mask nothing at the end of a row
"""
