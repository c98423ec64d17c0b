"""`tuner adopt`: declare a kernel by watching what launches it."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.common import common_options, print_json


@click.command()
@click.argument("function", metavar="MODULE:FUNCTION")
@click.option("--call", required=True, help="Its arguments, e.g. 'f(fp16[M=8192, N=4096], fp16[N], eps=1e-6)'.")
@click.option("--id", "kernel_id", required=True, metavar="NAMESPACE::NAME", help="The plugin id.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The Python file to write.")
@click.option(
    "--target", default="h200", show_default=True, help="GPU that answers when the module asks: h200, sm_90, …"
)
@common_options
def adopt(function: str, call: str, kernel_id: str, out: Path, target: str, as_json: bool) -> None:
    """Declare what a host function launches, by watching it.

    MODULE:FUNCTION is your own function: it allocates outputs, computes the grid and launches Triton kernels. It is run
    several times, on tensors that hold no data; no GPU is needed. In --call, letters tie dimensions, and equal plain
    numbers are one dimension. What could not be worked out is a TODO line in the file.
    """
    from tuner.adopt.adopting import adopt as adopt_function

    adopted = adopt_function(function, call, kernel_id=kernel_id, out=out, target=target)
    if as_json:
        print_json({"files": [str(f) for f in adopted.files], "todo": list(adopted.todo)})
        return
    for file in adopted.files:
        click.echo(f"wrote {file}")
    for line in adopted.todo:
        click.echo(f"todo  {' '.join(line.split())}")
    click.echo(f"next  tuner tune {adopted.files[1]}")
