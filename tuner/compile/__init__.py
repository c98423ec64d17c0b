"""A tactic to PTX that TensorRT can launch, and what its machine code takes.

- `artifact`: what a compiler leaves behind: launchable PTX, machine code, and facts read from both
- `assembler`: assemble PTX into machine code with a compiler's own tools, and learn what it takes
- `blobs`: what was compiled and checked before, on disk under the hash of everything it depends on
- `compiler`: compile tactics in worker processes, each once, whether asked for twice or in another run
- `launch_rules`: what PTX has to meet so that TensorRT can launch it, each rule by name
- `options`: what a compile may take
- `pipeline`: compile a tactic to PTX as TensorRT can launch it, and read what it takes
- `pointers`: which parameters of an entry its code reads and writes through, followed over the PTX
- `ptx`: read PTX as far as launching it needs: module directives, and each entry's parameters and directives
- `resources`: read what a kernel takes from the logs of NVIDIA's own tools: `ptxas -v` and `nvdisasm -c`
- `steps`: compile all launches of a tactic
"""
