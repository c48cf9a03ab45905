"""The command `svcca`: parse, call, print."""

from __future__ import annotations

import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svcca.errors import FileError, InputError, SvccaError, SvccaWarning, message

if TYPE_CHECKING:
    from torch import nn

    from svcca.compare.by_measure import ByMeasure
    from svcca.compare.pairs import Network
    from svcca.compare.result import SimilarityMatrix

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare what neural networks have learned: SVCCA and its relatives.",
    epilog="Start with: svcca demo",
)

OUTPUT_SUFFIXES = (".html", ".json", ".png", ".pdf", ".svg")
WEIGHTS_SUFFIXES = (".pt", ".safetensors")


def main() -> None:
    """Run the command; an error of the user's is one line on standard error and exit code 1."""
    try:
        app()
    except SvccaError as error:
        typer.echo(f"svcca: {error}", err=True)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"svcca {version('svcca')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
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
        _check_output(path)
    networks = _networks(a, b, model or [], checkpoint or [], device)
    from svcca.cli.models import load_inputs
    from svcca.compare.pairs import compare as compare_networks

    with _warnings_kept_back():
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
    matrices = [_described(matrix, titles, command) for matrix in found.values()]
    for path in outputs:
        _write(matrices, path)
    _print(matrices, outputs, as_json=as_json, quiet=quiet)


@app.command()
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
        str | None, typer.Option(help="What directions are chosen by: outputs (default), logits, pls, pca, weights.")
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
    _check_output(output, WEIGHTS_SUFFIXES)
    for path, suffix in ((report, ".json"), (export, ".pt2")):
        if path is not None:
            _check_output(path, (suffix,))
    if against is not None and against_checkpoint is not None:
        raise InputError(message("compress", "one of --against and --against-checkpoint", "both"))
    from svcca.capture.batches import batches_of
    from svcca.cli.models import build_model, import_function, load_inputs
    from svcca.compress.compress import compress as compress_network
    from svcca.compress.compression_report import compression_report
    from svcca.compress.loading import export_program, save_weights
    from svcca.compress.ranks import read_ranks

    network = _on_device(build_model(model, checkpoint), device)
    other = None if against_checkpoint is None else _on_device(build_model(model, against_checkpoint), device)
    measure = None if evaluate is None else import_function(evaluate)
    batches = list(batches_of(load_inputs(data)))
    with _warnings_as_notes():
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


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report and the figure.")] = Path(
        "svcca-demo"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no table.")] = False,
) -> None:
    """Train two small nets on the bundled digits, compare them, and write a report. Takes less than a minute."""
    from svcca.cli import demo as digits

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(message(f"write {output}", "a folder that can be made", str(error.strerror))) from error
    outputs = [output / "report.html", output / "heatmap.png"]
    for path in outputs:
        _check_output(path)
    with _warnings_kept_back():
        result = digits.run(progress=False if quiet else None)
    for path in outputs:
        _write([result.matrix], path)
    if not quiet:
        first, second = result.accuracies
        typer.echo(f"Two nets from two seeds read {first:.1%} and {second:.1%} of unseen digits correctly.")
        hits, total = result.matrix.twin_matches()
        typer.echo(f"{hits} of {total} blocks are most similar to their twin in the other net; chance would give 1.")
    _print([result.matrix], outputs, as_json=False, quiet=quiet)


def _networks(
    a: str | None, b: str | None, models: list[str], checkpoints: list[Path], device: str | None
) -> list[tuple[Network, str]]:
    """The one or two networks that the words of the command line name, models first, each with its title."""
    from svcca.cli.models import build_model

    files = [path for path in (a, b) if path is not None]
    n_live = max(len(models), len(checkpoints))
    if checkpoints and not models:
        raise InputError(message("compare", "--model beside --checkpoint", "none", "Weights need their architecture"))
    if n_live + len(files) not in (1, 2):
        remedy = "Name two files of activations, or --model with one or two --checkpoint"
        raise InputError(message("compare", "one or two networks", str(n_live + len(files)), "", remedy))
    if len(models) > 1 and checkpoints and len(models) != len(checkpoints):
        got = f"{len(models)} models and {len(checkpoints)} checkpoints"
        raise InputError(message("compare", "one model for all checkpoints, or one for each", got))
    networks: list[tuple[Network, str]] = []
    for i in range(n_live):
        spec, checkpoint = models[min(i, len(models) - 1)], checkpoints[i] if checkpoints else None
        networks.append((_on_device(build_model(spec, checkpoint), device), str(checkpoint or spec)))
    return networks + [(path, path) for path in files]


def _on_device(model: nn.Module, device: str | None) -> nn.Module:
    try:
        return model.to(device) if device else model
    except (RuntimeError, AssertionError) as error:  # torch's words for no such device, or none here
        raise InputError(message(f"--device {device}", "a device that is there", str(error).splitlines()[0])) from error


def _described(matrix: SimilarityMatrix, titles: list[str], command: str) -> SimilarityMatrix:
    """Name rows and columns after what the user typed, and record the command."""
    return replace(matrix, row_title=titles[0], column_title=titles[-1], command=command)


def _check_output(path: Path, suffixes: Sequence[str] = OUTPUT_SUFFIXES) -> None:
    """Refuse, before the work starts, what could not be written after it."""
    if path.suffix not in suffixes:
        got = path.suffix or "no ending"
        raise InputError(message(f"output {path}", f"a name that ends in {', '.join(suffixes)}", got))
    if not path.parent.is_dir():
        raise FileError(message(f"output {path}", "a folder that exists", f"no folder {path.parent}"))
    if path.is_dir():
        raise FileError(message(f"output {path}", "a file's name", "a folder"))
    if not os.access(path.parent, os.W_OK):
        raise FileError(message(f"output {path}", "a folder that can be written to", str(path.parent)))


def _write(matrices: Sequence[SimilarityMatrix], path: Path) -> None:
    """Write all matrices as JSON, or the first as a page or a figure."""
    if path.suffix == ".html":
        matrices[0].report(path)
    elif path.suffix == ".json":
        _document(matrices).save(path)
    else:
        from svcca.io.files import write_atomically

        figure, _ = matrices[0].plot()
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=160, bbox_inches="tight"))


def _document(matrices: Sequence[SimilarityMatrix]) -> SimilarityMatrix | ByMeasure[SimilarityMatrix]:
    """The one matrix, or all by their measures."""
    from svcca.compare.by_measure import ByMeasure

    return matrices[0] if len(matrices) == 1 else ByMeasure(matrices)


def _print(matrices: Sequence[SimilarityMatrix], outputs: list[Path], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_document(matrices).to_dict(), allow_nan=False))
        return
    if quiet:
        return
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for each in matrices:
        title = f"{each.measure} over {each.n_samples:,} samples; chance level up to {each.chance.max():.2f}"
        table = Table(title=title)
        table.add_column(Text(f"{each.row_title} \\ {each.column_title}"))
        for name in each.column_labels:
            table.add_column(Text(name), justify="right")
        for name, values in zip(each.row_labels, each.values, strict=True):
            table.add_row(Text(name), *(f"{value:.3f}" for value in values))
        # As wide as it needs: on a narrow terminal a wrapped line can be read, a squeezed column cannot.
        width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        Console(width=max(console.width, width)).print(table)
    for warning in dict.fromkeys(note for each in matrices for note in each.warnings):
        typer.echo(f"Note: {warning}", err=True)
    for path in outputs:
        typer.echo(f"Wrote {path}")


@contextmanager
def _warnings_kept_back() -> Iterator[None]:
    """The matrix records every warning, and the table prints them; Python need not print them as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        yield


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Say what a reader must know in one line each, on standard error; other warnings go where they would."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SvccaWarning)
        yield
    for each in caught:
        if issubclass(each.category, SvccaWarning):
            typer.echo(f"Note: {each.message}", err=True)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
