"""The command `svcca`: its subcommands, its version, and how an error of the user's ends it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from svcca.cli.compare import compare
from svcca.cli.compress import compress
from svcca.cli.demo import demo
from svcca.errors import SvccaError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare what neural networks have learned: SVCCA and its relatives.",
    epilog="Start with: svcca demo",
)
for command in (compare, compress, demo):
    app.command()(command)


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
