"""`syncd init`: a first configuration from a look at a table."""

from __future__ import annotations

from pathlib import Path

import click

from syncd.errors import EnvironmentFault

_TIMEOUT_SECS = 30


@click.command()
@click.option("--url", required=True, metavar="URL", help="The CRM's database, without a password: postgresql://...")
@click.option("--table", required=True, metavar="SCHEMA.TABLE", help="The table or view with the leads.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to make; none is overwritten.")
@click.option("--password-file", type=click.Path(path_type=Path), help="A file that holds the CRM's password.")
def init(url: str, table: str, output: Path | None, password_file: Path | None) -> int:
    """Write a first configuration from a look at a table, for you to correct. Prints it without --output."""
    from syncd.config import read_secret
    from syncd.config.rules import database_url
    from syncd.crm import CrmConnection
    from syncd.suggest import configuration, look
    from syncd.suggest.writing import FILL_IN

    try:
        url = database_url(url)
    except ValueError as error:
        raise click.BadParameter(f"{error}", param_hint="--url") from None
    if output is not None and output.exists():
        raise _there(output)
    whole = None if password_file is None else password_file.absolute()
    password = None if whole is None else read_secret(whole, whole, "--password-file")
    schema, dot, name = table.partition(".")
    connection = CrmConnection(url, password, "init", _TIMEOUT_SECS)
    try:
        seen = look(connection, (schema, name) if dot else ("public", schema))
    finally:
        connection.close()
    text = configuration(url, seen, password_file=None if whole is None else str(whole))
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    left = text.count(f"# {FILL_IN}:")
    where = "" if output is None else f"{output} is made. "
    click.echo(f"{where}{left} places are marked {FILL_IN}; after that, run `syncd check`.", err=True)
    return 0


def _there(output: Path) -> EnvironmentFault:
    return EnvironmentFault(f"{output} is there already, and is left as it is.", "Name another file with --output.")


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:  # "x" makes, and never overwrites
            file.write(text)
    except FileExistsError:
        raise _there(output) from None
    except OSError as error:
        raise EnvironmentFault(f"{output} cannot be written: {error.strerror}.", "Name another file.") from None


COMMANDS = (init,)
