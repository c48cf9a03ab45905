"""`svcca compress`: a checkpoint in, a smaller one out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from svcca.cli.output import check_output, warnings_as_notes
from svcca.errors import InputError, message

WEIGHTS_SUFFIXES = (".pt", ".safetensors")
"""Endings of the files that weights can be written to."""


def compress(
    model: Annotated[str, typer.Option("--model", "-m", help="package.module:factory of the network.")],
    data: Annotated[
        str,
        typer.Option("--data", "-d", help="What layers are measured on: package.module:loader, or .npy, .npz, ..."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File for the smaller network's weights, .pt or .safetensors.")
    ],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", "-c", help="The network's weights, .pt or .safetensors.")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Weights after over before, of all chosen layers together, e.g. 0.35.")
    ] = None,
    ranks: Annotated[
        list[str] | None,
        typer.Option(help="Or directions a layer: a number (40), a share (0.35), or layer=number. Repeatable."),
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="Or as far as --evaluate falls by no more than this, e.g. 0.01.")
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", "-l", help='Layer name or pattern, e.g. "fc*". Repeatable. Default: all that can be.'),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="What directions are chosen by: outputs (default), logits, labels, pls, pca, weights."),
    ] = None,
    against_checkpoint: Annotated[
        Path | None, typer.Option(help="Or another network of the same model, e.g. from another seed: its weights.")
    ] = None,
    evaluate: Annotated[
        str | None, typer.Option("--evaluate", "-e", help="package.module:function, model -> accuracy.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="File for the report, .json.")] = None,
    export: Annotated[Path | None, typer.Option(help="File for the network as a torch.export program, .pt2.")] = None,
    device: Annotated[str | None, typer.Option(help='Where the model runs, e.g. "cuda". Default: where it is.')] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no report.")] = False,
) -> None:
    """Make a network smaller: layers keep the directions of their inputs that matter.

    \b
    svcca compress -m nets:net -c a.pt -d nets:loader --ratio 0.35 -o smaller.pt
    svcca compress -m nets:net -c a.pt -d nets:loader --max-loss 0.01 -e nets:accuracy -o smaller.pt
    svcca compress -m nets:net -c a.pt --against-checkpoint b.pt -d x.npy --ranks fc1=40 -o smaller.safetensors

    Load the result in Python (what --export writes needs no svcca, only torch.export.load):

    \b
    smaller = svcca.load_compressed(nets.net(), "smaller.pt")
    """  # noqa: D301 (the escape is meant: it tells the help not to rewrap)
    check_output(output, WEIGHTS_SUFFIXES)
    for path, suffix in ((report, ".json"), (export, ".pt2")):
        if path is not None:
            check_output(path, (suffix,))
    if against is not None and against_checkpoint is not None:
        raise InputError(message("compress", "one of --against and --against-checkpoint", "both"))
    from svcca.capture.batches import batches_of
    from svcca.cli.models import build_model, import_function, load_inputs
    from svcca.compress.compress import compress as compress_network
    from svcca.compress.compression_report import compression_report
    from svcca.compress.loading import export_program, save_weights
    from svcca.compress.ranks import read_ranks

    network = build_model(model, checkpoint, device)
    other = None if against_checkpoint is None else build_model(model, against_checkpoint, device)
    measure = None if evaluate is None else import_function(evaluate)
    batches = list(batches_of(load_inputs(data)))
    with warnings_as_notes():
        smaller = compress_network(
            network,
            batches,
            layers=layers,
            ratio=ratio,
            ranks=read_ranks(ranks) if ranks else None,
            max_loss=max_loss,
            against=other or against or "outputs",
            evaluate=measure,
            progress=False if quiet else None,
        )
    bought = compression_report(network, smaller, batches[0], evaluate=measure)

    def say(text: str) -> None:
        if not (as_json or quiet):
            typer.echo(text)

    if as_json:
        typer.echo(json.dumps(bought.to_dict(), allow_nan=False))
    say(str(bought))
    say(f"Wrote {save_weights(smaller, output)}")
    if report is not None:
        say(f"Wrote {bought.save(report)}")
    if export is not None:
        say(f"Wrote {export_program(smaller, batches[0], export)}")
    say(f"Load it with svcca.load_compressed(model, {str(output)!r}), where model is what {model} gives.")
