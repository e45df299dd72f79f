"""`alignmeter sizes`: the parameter counts behind `--size`."""

__all__ = ["sizes"]

import click

from alignmeter.cells.axes import AXES
from alignmeter.registry import ARCHITECTURES


@click.command()
@click.option("--markdown", is_flag=True, help="Print Markdown, as docs/sizes.md has it.")
def sizes(markdown: bool) -> None:
    """Print the table of sizes: layers x width and parameters per family.

    Counted on torch's meta device, so nothing is allocated.
    """
    from alignmeter.architectures import open_architecture
    from alignmeter.terminal.sizes import SizeRow, size_parts, sizes_markdown
    from alignmeter.terminal.tables import print_parts

    families = {name: open_architecture(name) for name in ARCHITECTURES}
    rows = []
    for size in AXES["size"].choices:
        shapes = {name: f.shapes[size] for name, f in families.items() if size in f.shapes}
        rows.append(
            SizeRow(
                size=size,
                vocabulary=next(iter(shapes.values()))["vocab_size"],
                shapes={
                    name: (
                        shape["num_hidden_layers"],
                        shape["hidden_size"],
                        families[name].parameters(size),
                    )
                    for name, shape in shapes.items()
                },
            )
        )
    if markdown:
        click.echo(sizes_markdown(rows, list(families)))
    else:
        print_parts(size_parts(rows, list(families)))
