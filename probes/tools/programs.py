"""Where is the program that a check runs, and is it there at all?

Looked for on the PATH, then in ``/opt/konduktor/bin``; the option ``program`` of a check names
another one.

Invariant: a program that is not on this node is a skip that says so, never a pass. One that was
named by an option and is not there is an error: somebody wanted it.
"""

from __future__ import annotations

from probes.check import Context, ToolOutput
from probes.errors import CheckError, Skipped, ToolMissing

#: Where the programs of this project are installed.
INSTALLED = "/opt/konduktor/bin"
OPTION = "program"


def run_program(
    context: Context,
    program: str,
    arguments: tuple[str, ...],
    *,
    deadline_s: float,
    option: str = OPTION,
) -> ToolOutput:
    """Run it. Raises Skipped when it is not on this node, ToolTimeout, CheckError."""
    if deadline_s <= 0:
        raise CheckError(f"{program}: no time left for another run")
    named = context.options.get(option, "")
    if named:
        try:
            return context.tool((named, *arguments), deadline_s=deadline_s)
        except ToolMissing as error:
            raise CheckError(f"option {option}={named}: {error}") from error
    for path in (program, f"{INSTALLED}/{program}"):
        try:
            return context.tool((path, *arguments), deadline_s=deadline_s)
        except ToolMissing:
            continue
    raise Skipped(f"{program} is not on this node (neither on the PATH nor in {INSTALLED})")
