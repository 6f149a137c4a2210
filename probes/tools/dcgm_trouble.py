"""dcgmi answered without results: is that trouble of the measuring, or are the GPUs taken?

The texts are those of DCGM's public source (``dcgmi/Command.cpp``, ``dcgmi/Diag.cpp``), the numbers
its ``dcgmReturn_t`` (``dcgmlib/dcgm_structs.h``).

Invariant: none of these accuses a GPU. A host engine that does not answer is an error; a diagnostic
that another one keeps from running is skipped.
"""

from __future__ import annotations

import re

from probes.check import ToolOutput
from probes.errors import CheckError, Skipped
from probes.tools.reading import ending, excerpt

_RETURN = re.compile(r"Return:? \((-[0-9]{1,3})\)")
# The shell sees the low byte: -39 is 217.
_ALREADY_RUNNING, _IN_USE = -39, -34
_HINTS = {
    -6: "the driver is not one that DCGM supports",
    -17: "no permission: dcgmi has to run as root",
    -21: "start nv-hostengine, or point dcgmi at it",
    -29: "dcgmi has to run as root",
    -33: "the host engine has not loaded its diagnostic module",
    -40: "the diagnostic itself crashed",
    -41: "the diagnostic could not be started",
    -52: "install the package with the diagnostic (datacenter-gpu-manager)",
    -53: "the diagnostic was killed, often for its memory",
    -58: "this DCGM has none of the tests that were asked for",
}
_HOST_ENGINE = re.compile(r"host ?engine|establish a connection", re.IGNORECASE)
_BUSY = re.compile(r"already running|in use\b", re.IGNORECASE)


def without_json(output: ToolOutput, error: CheckError) -> CheckError | Skipped:
    """What to raise for an output in which there is no JSON with results; ``error`` says why."""
    text = f"{output.stdout}\n{output.stderr}"
    told = _RETURN.search(text)
    code = int(told[1]) if told else None
    if code is None and output.returncode >= 128:
        code = output.returncode - 256
    if "{" in output.stdout and code is None:
        return error  # JSON that is cut off or garbled: what dcgmi means is not known
    return trouble(text if text.strip() else ending(output), code)


def trouble(text: str, code: int | None) -> CheckError | Skipped:
    """What to raise for dcgmi's own words; ``code`` is its dcgmReturn_t where it is known."""
    if code in (_ALREADY_RUNNING, _IN_USE) or (code is None and _BUSY.search(text)):
        return Skipped(f"another diagnostic or program holds the GPUs: {excerpt(text)}")
    hint = _HINTS.get(code or 0, "")
    if not hint and _HOST_ENGINE.search(text):
        hint = _HINTS[-21]
    return CheckError(f"dcgmi diag did not run: {excerpt(text)}" + (f" ({hint})" if hint else ""))
