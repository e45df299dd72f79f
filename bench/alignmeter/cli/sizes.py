"""`alignmeter sizes`: the parameter counts behind `--size`."""

__all__ = ["sizes"]

import click

from alignmeter.cells.axes import AXES
from alignmeter.registry import ARCHITECTURES, default_name


@click.command()
def sizes() -> None:
    """Print the table of sizes: layers x width and parameters per family.

    Counted on torch's meta device, so nothing is allocated. The table is
    Markdown; it stands in docs/sizes.md.
    """
    from alignmeter.architectures import open_architecture

    families = {name: open_architecture(name) for name in ARCHITECTURES}
    first = default_name(ARCHITECTURES)
    click.echo(f"| size | vocabulary | {' | '.join(families)} | apart |")
    click.echo("|---|---|" + "---|" * (len(families) + 1))
    for size in AXES["size"].choices:
        shapes = {name: f.shapes[size] for name, f in families.items() if size in f.shapes}
        counts = {name: families[name].parameters(size) for name in shapes}
        apart = max(abs(count / counts[first] - 1) for count in counts.values())
        cells = " | ".join(
            f"{shapes[name]['num_hidden_layers']} x {shapes[name]['hidden_size']}, "
            f"{counts[name] / 1e6:.4g} M"
            if name in shapes
            else "-"
            for name in families
        )
        click.echo(f"| {size} | {shapes[first]['vocab_size']} | {cells} | {apart:.1%} |")
