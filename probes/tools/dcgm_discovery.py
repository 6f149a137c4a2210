"""Which device has which of DCGM's GPU ids? ``dcgmi discovery -l``.

DCGM counts GPUs by itself. An id of a diagnostic is a GPU only by this table.
"""

from __future__ import annotations

import re

from parsers.device import normalise
from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.reading import ending, excerpt

_FOUND = re.compile(r"^([0-9]{1,3}) GPUs? found\.", re.MULTILINE)
_ROW = re.compile(r"^\| ([0-9]{1,3}) +\| ", re.MULTILINE)
_BUS = re.compile(r"PCI Bus ID: ([0-9A-Fa-f:.]{1,20})")


def parse_discovery(output: ToolOutput) -> dict[int, str]:
    """DCGM's GPU ids and their devices ("0000:3b:00"), from ``dcgmi discovery -l``.

    Raises CheckError when the table is not whole.
    """
    count = _FOUND.search(output.stdout)
    if output.returncode != 0 or count is None:
        raise CheckError(
            f"dcgmi discovery ({ending(output)}): {excerpt(output.stdout + output.stderr)}"
        )
    devices: dict[int, str] = {}
    rows = _ROW.split(output.stdout)[1:]
    for gpu, block in zip(rows[::2], rows[1::2], strict=False):
        bus = _BUS.search(block)
        address = normalise(bus[1]) if bus else None
        if address is not None:
            devices[int(gpu)] = address.device
    if len(devices) != int(count[1]):
        raise CheckError(f"dcgmi discovery: {count[1]} GPUs told, {len(devices)} read")
    return devices
