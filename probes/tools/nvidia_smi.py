"""What did ``nvidia-smi -q`` say: which GPUs, and which of their values cannot be read?

The text is a tree by indentation: "Name : value" and headings without a colon. Its width differs
between driver versions; names of values repeat ("Pending" stands under MIG Mode, ECC Mode,
Retired Pages, Remapped Rows), so a value is known by its path.

Invariants:
- The GPUs that the text announces ("Attached GPUs") are all read, or the text is refused.
- A text in which nvidia-smi says that it failed is never a list of GPUs.
- Names of processes are their owners' words: nothing below "Processes" is a value of a GPU, and
  what nvidia-smi says itself stands at the beginning of a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from parsers.device import normalise
from parsers.printable import printable
from probes.check import ToolOutput
from probes.errors import BackendMissing, CheckError
from probes.tools.reading import ending, excerpt

#: Words that stand where a value cannot be read because the GPU is not well.
BROKEN = ("err!", "unknown error", "gpu is lost", "gpu requires reset")

_GPU = re.compile(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])$")
_LAST = "Processes"
_MOST_LINES = 200_000
_MOST_DEPTH = 12

# What nvidia-smi prints instead of a list; the same words since at least 2015.
_LOST = re.compile(
    r"^Unable to determine the device handle for (?:gpu|GPU)\s?(?:([0-9]{1,3}):\s)?"
    r"([0-9A-Fa-f]{1,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])?:?\s?(.{1,120})",
    re.MULTILINE,
)
_MISSING = (
    "couldn't communicate with the NVIDIA driver",
    "Driver/library version mismatch",
    "Failed to initialize NVML",
    "No devices were found",
)


@dataclass(frozen=True, slots=True)
class SmiGpu:
    """A GPU and its values by path: ("Remapped Rows", "Pending") to "No"."""

    device: str  # "0000:3b:00"
    values: Mapping[tuple[str, ...], str]

    @property
    def whole(self) -> bool:
        """Whether its first and its last part were told; a text that is cut off lacks the last."""
        return ("GPU UUID",) in self.values and (_LAST,) in self.values

    def broken(self) -> list[str]:
        """Names of the values that cannot be read because the GPU is not well."""
        return [
            " / ".join(path)
            for path, value in self.values.items()
            if any(word in value.lower() for word in BROKEN)
        ]


@dataclass(frozen=True, slots=True)
class SmiQuery:
    """All that ``nvidia-smi -q`` told."""

    driver: str
    gpus: tuple[SmiGpu, ...]
    lost: tuple[
        tuple[str, str], ...
    ] = ()  # device ("" is not told) and words of one it can't reach


def parse_query(output: ToolOutput) -> SmiQuery:
    """Read ``nvidia-smi -q``.

    Raises BackendMissing where driver or library do not answer, CheckError for what is not
    understood.
    """
    text = output.stdout
    lost = tuple(_lost(f"{text}\n{output.stderr}"))
    for words in _MISSING:
        if words in text or words in output.stderr:
            raise BackendMissing(f"nvidia-smi ({ending(output)}): {words}")
    if lost and "Attached GPUs" not in text:
        return SmiQuery("", (), lost)  # older versions stop at the first one
    if output.returncode != 0 and not lost:
        raise CheckError(f"nvidia-smi ({ending(output)}): {excerpt(text + output.stderr)}")
    head, gpus = _tree(text)
    attached = head.get(("Attached GPUs",), "")
    if not attached.isdecimal() or len(gpus) + len(lost) < int(attached[:4]):
        raise CheckError(
            f"nvidia-smi: {attached or 'no number of'} GPUs announced, {len(gpus)} read"
        )
    devices = [gpu.device for gpu in gpus]
    if len(gpus) > int(attached[:4]) or len(set(devices)) < len(devices):
        raise CheckError(f"nvidia-smi: {attached} GPUs announced, {len(gpus)} read, or one twice")
    if both := {device for device, _ in lost} & set(devices):
        raise CheckError(f"nvidia-smi: {min(both)} is told as lost, and with its values too")
    return SmiQuery(head.get(("Driver Version",), ""), gpus, lost)


def _lost(text: str) -> Iterator[tuple[str, str]]:
    for found in _LOST.finditer(text):
        address = normalise(found[2] or "")
        yield address.device if address else "", printable(found[0], 200)


def _tree(text: str) -> tuple[dict[tuple[str, ...], str], tuple[SmiGpu, ...]]:
    """The values before the first GPU, and each GPU with its own."""
    head: dict[tuple[str, ...], str] = {}
    gpus: list[tuple[str, dict[tuple[str, ...], str]]] = []
    values = head
    above: list[tuple[int, str]] = []  # headings that the next line may stand under
    ended = False  # below "Processes", the last part of a GPU that is read
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        content = line.strip()
        if not content or content.startswith("="):
            continue
        found = _GPU.match(content)
        if found is not None:
            values = {}
            address = normalise(found[1])
            gpus.append((address.device if address else "", values))
            above, ended = [], False
            continue
        if ended:
            continue
        indent = len(line) - len(line.lstrip())
        while above and above[-1][0] >= indent:
            above.pop()
        name, colon, value = content.partition(" : ")
        name = printable(name, 64)
        path = (*(heading for _, heading in above), name)
        if path == (_LAST,):
            values[path], ended = "", True
        elif colon:
            values.setdefault(path, printable(value, 128))
        elif len(above) < _MOST_DEPTH:
            above.append((indent, name))
    return head, tuple(SmiGpu(device, read) for device, read in gpus)
