"""The command line ``konduktor-health``: errors become one message, a hint and an exit code.

Exit codes (docs/reference/cli.md): 0 done; 1 not all of it could be done; 2 wrong usage,
settings or kubeconfig; 3 Loki or the API server is not available; 4 refused (credentials,
RBAC, query); 5 another replica leads; 70 the process had to be ended hard. ``probe``: 3 something
failed, 4 something was not measured, and 1 for what is 3 or 4 elsewhere.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from konduktor_health import __version__
from konduktor_health.cli import (
    demo,
    explain,
    hold,
    inject_command,
    maintenance,
    policy,
    probe,
    release,
    replay,
    reset,
    resume,
    run,
    scan_command,
    status,
    taint,
    uninstall,
)
from konduktor_health.errors import HealthError
from konduktor_health.runtime import log
from konduktor_health.runtime.log import printable

app = typer.Typer(
    name="konduktor-health",
    help="Finds GPU and node faults in Loki, taints bad nodes, and clears the taint by reset.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.command)
app.command("reset")(reset.command)
app.command("hold")(hold.command)
app.command("release")(release.command)
app.command("taint")(taint.command)
app.add_typer(maintenance.app, name="maintenance")
app.command("resume")(resume.command)
app.command("inject")(inject_command.command)
app.command("status")(status.command)
app.command("scan")(scan_command.command)
app.command("replay")(replay.command)
app.command("explain")(explain.command)
app.add_typer(policy.app, name="policy")
app.add_typer(probe.app, name="probe")
app.command("uninstall")(uninstall.command)
app.command("demo")(demo.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"konduktor-health {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """GPU-node health controller for Kubernetes."""


def main() -> None:
    """Run the command line; a user's mistake never shows a traceback."""
    _open_streams()
    log.set_up(debug=False, form="text", quiet=True)  # run and demo set it up as they are told
    try:
        app()
    except HealthError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"hint: {printable(error.hint)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        os._exit(1)  # what could not be written would fail again at the interpreter's end


def _open_streams() -> None:
    """Output that is closed goes nowhere, and no character stops it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # open until the process ends, hence no with
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - see above
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
