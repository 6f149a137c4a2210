"""What did NVIDIA's ``bandwidthTest --csv`` measure? Autopilot's PCIe check uses it.

One line for each direction and size: ``bandwidthTest-H2D-Pinned, Bandwidth = 12.4 GB/s, Time =
0.00081 s, Size = 10000000 bytes, NumDevsUsed = 1``. The sample was removed from cuda-samples 12.9.

Invariant: a line counts when all of it is understood, unit included. Autopilot searched the output
for "802" to find an error and met ``Time = 0.00802 s``; nothing is searched for here.
"""

from __future__ import annotations

import re

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.reading import ending, excerpt, number

_LINE = re.compile(
    r"bandwidthTest-(H2D|D2H|D2D)(?:-(Pinned|Paged))?, Bandwidth = (\S{1,24}) (GB/s|MB/s), "
    r"Time = \S{1,24} s, Size = ([0-9]{1,18}) bytes, NumDevsUsed = [0-9]{1,3}\s*"
)


def parse_csv(output: ToolOutput) -> dict[str, float]:
    """Direction ("h2d", "d2h", "d2d") to GB/s at the largest size. Raises CheckError."""
    text = output.stdout
    if output.returncode != 0 or "Result = PASS" not in text:
        raise CheckError(f"bandwidthTest ({ending(output)}): {excerpt(text + output.stderr)}")
    best: dict[str, tuple[int, float]] = {}
    for line in text.splitlines():
        if not line.startswith("bandwidthTest-"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise CheckError(f"bandwidthTest: a line that is not understood: {excerpt(line)}")
        scale = 1.0 if found[4] == "GB/s" else 0.001
        direction, size = found[1].lower(), int(found[5])
        measured = number(found[3], direction) * scale
        if direction not in best or size >= best[direction][0]:
            best[direction] = (size, measured)
    if not best:
        raise CheckError(f"bandwidthTest: no results: {excerpt(text)}")
    return {direction: measured for direction, (_, measured) in best.items()}
