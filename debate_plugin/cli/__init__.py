"""The command line: every command is a few lines over the library.

What the user must fix is one line on standard error and exit code 2; what failed on the way is exit code 1.
"""

from __future__ import annotations

import os
import warnings

import click

from debate_plugin.cli.debates import evaluate, generate, run
from debate_plugin.cli.records import export, import_, lineage, runs, show
from debate_plugin.cli.rows import compile_
from debate_plugin.cli.training import demo, merge, train
from debate_plugin.errors import InputError, MissingExtraError, RunError


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="debate-plugin")
@click.pass_context
def app(context: click.Context) -> None:
    """Debate, record, compile, train, evaluate."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (run, generate, runs, show, lineage, export, import_, compile_, train, merge, evaluate, demo):
    app.add_command(_command)


def _complain(sentence: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # under `accelerate launch` each process comes here, and the first of a machine tells
    click.echo("error: " + " ".join(sentence.split()), err=True)


def main() -> None:
    """Run the command line; what went wrong is one line, and the exit code says whose it is."""
    # A server may name a model otherwise than it was asked for; the user named it and need not be told each time.
    warnings.filterwarnings("ignore", message="Resolved model mismatch")
    try:
        app.main(prog_name="debate", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "debate"
        _complain(f"{error.format_message()} See '{where} --help'.")
        raise SystemExit(2) from None
    except (InputError, MissingExtraError, OSError) as error:
        _complain(str(error))
        raise SystemExit(2) from None
    except RunError as error:
        _complain(str(error))
        raise SystemExit(1) from None
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped; what was recorded is kept")
        raise SystemExit(130) from None
