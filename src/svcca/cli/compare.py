"""`svcca compare`: every layer of one network against every layer of another."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from svcca.cli.output import check_output, described, print_matrices, warnings_kept_back, write_matrices


def compare(
    a: Annotated[
        str | None, typer.Argument(help="Saved activations, .npz or .safetensors: layer name -> array.")
    ] = None,
    b: Annotated[str | None, typer.Argument(help="The other network's. Left out: A against itself.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="package.module:factory of a model; twice for two architectures."),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", "-c", help="Weights for the model, .pt or .safetensors; twice to compare two."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", help="What models are run on: package.module:loader, or .npy, .npz, .safetensors."
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers", "-l", help='Layer name or pattern, e.g. "layer?.*"; "!head" leaves one out. Repeatable.'
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="svcca (default), pwcca, linear_cka, ...; a wrong name lists them all. Repeatable."),
    ] = None,
    observe: Annotated[
        str,
        typer.Option(
            help="auto, flatten, pixels, pool, interpolate, fourier (convolutional layers), tokens, last_token or "
            "mean_token."
        ),
    ] = "auto",
    retained_variance: Annotated[float, typer.Option(help="Share of variance the SVD step of svcca keeps.")] = 0.99,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help="File to write: .html report, .json matrix, .png .pdf .svg figure. Repeatable."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help='Where models run, e.g. "cuda". Default: where they are.')] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the matrix as JSON instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no table.")] = False,
) -> None:
    """Compare every layer of A with every layer of B.

    \b
    svcca compare a.npz b.npz -o report.html
    svcca compare -m nets:resnet -c a.pt -c b.pt -d nets:loader
    svcca compare -m nets:resnet -c a.pt -d images.npy -l "layer?.*"
    """  # noqa: D301 (the escape is meant: it tells the help not to rewrap)
    outputs = output or []
    for path in outputs:
        check_output(path)
    from svcca.cli.models import load_inputs, load_networks
    from svcca.compare.pairs import compare as compare_networks

    networks = load_networks(a, b, model or [], checkpoint or [], device)
    with warnings_kept_back():
        found = compare_networks(
            networks[0][0],
            networks[1][0] if len(networks) == 2 else None,
            load_inputs(data) if data else None,
            layers=layers,
            measure=measure or ["svcca"],
            observe=observe,
            retained_variance=retained_variance,
            progress=False if quiet else None,
        )
    titles, command = [title for _, title in networks], shlex.join(["svcca", *sys.argv[1:]])
    matrices = [described(matrix, titles[0], titles[-1], command) for matrix in found.values()]
    for path in outputs:
        write_matrices(matrices, path)
    print_matrices(matrices, outputs, as_json=as_json, quiet=quiet)
