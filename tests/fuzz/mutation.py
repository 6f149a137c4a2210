"""Which input comes next? Seeded mutation of real log lines, and choices made by bytes.

The same seed gives the same inputs. An input is bytes; ``Choices`` turns bytes into decisions, so
that a coverage-guided fuzzer can steer what it makes of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from tests.support.wrapped_lines import WRAPPERS, journald, rows

_T = TypeVar("_T")
_DATA = Path(__file__).parents[1] / "unit" / "parsers" / "data"

#: What wrappers, heads and words are made of; put together in any order.
TOKENS: tuple[str, ...] = (
    "NVRM: ", "Xid (", "xid (", "XID (", "SXid (", "PCI:0000:3b:00", "PCI:", "): ", "79", ", Fatal",
    ", pid=7", ", name=", "x): 79, Fatal", "NVRM: Xid (PCI:0000:af:00): 79, ", "nvidia-nvswitch0: ",
    "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 24007, Fatal, Link 28 x", "GPU-I:05", "Link -1",
    "GPU 0000:af:00.0: GPU has fallen off the bus", "The NVIDIA GPU 0000:af:00.0", "Severity 1 ",
    "fallen off the bus and is not responding to commands", "installed in this system has",
    "Data {0x1}", "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
    "gpu reset", "node reboot", "previous Xid 79", "invalid device ordinal", "(0x021425c6 0x1)",
    "nvidia-peermem nv_get_p2p_free_callback:1 ERROR detected invalid context",
    "[1.000001] ", "[", "]", "<4>", "<0>", "kernel: ", "4,1,2,-;", "{", "}", '"', "\\", "\\x0a",
    "\\x5cx41", "\\u0041", "\\n", "\x1b[0m", "\x1b(B", "\x1b[", "\x00", "\n", "\r\n", "\t", " ",
    "\u202e", "\u2066", "\ufffd", "\ud800", "\xe9", "message repeated 3 times: [ ", "stdout F ",
    "Jun 29 19:20:26 gpu-7 kernel: ", "2026-11-22T05:00:00.123456Z ", "kern  :warn  : ",
    '{"log":"', '{"MESSAGE":[78,86],"_TRANSPORT":"kernel"}', '{"konduktor":"kmsg","kind":"record",',
    '"text":"', '"kind":"missed","missed":9', "1e999", "-1", "9" * 30, ", ", ",", ".",
    ":", "(", ")",
)  # fmt: skip


class Choices:
    """Decisions out of bytes; all of them the first one where the bytes have ended."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """A number from 0 to ``below`` - 1 (at most 65,536 of them)."""
        width = 1 if below <= 256 else 2
        taken = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(taken, "big") % below

    def one(self, options: Sequence[_T]) -> _T:
        """One of the options."""
        return options[self.number(len(options))]

    def rest(self) -> str:
        """What is left, as text; undecodable bytes become surrogates."""
        return text_of(self._data[self._at :])


def text_of(data: bytes) -> str:
    """As lines are read."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The reverse; a lone surrogate of another kind becomes three bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


@cache
def messages() -> tuple[str, ...]:
    """Real lines: GPUs, the rest of the kernel, pods, and what must not match."""
    found = [row.line for row in rows()]
    for name, column in (("gpu_lines.tsv", "line"), ("other_lines.tsv", "line")):
        path = _DATA / name
        if path.exists():
            head, *lines = path.read_text(encoding="utf-8").splitlines()
            at = head.split("\t").index(column)
            found += [line.split("\t")[at] for line in lines]
    return tuple(dict.fromkeys(found))


def mutated(text: str, chance: random.Random) -> str:
    """Tokens and odd characters put in, parts taken out, doubled, swapped or cut off."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(text) + 1)
        to = min(len(text), at + chance.choice((0, 1, 1, 2, 4, 16)))
        what = chance.randrange(6)
        if what == 0:
            text = text[:at] + chance.choice(TOKENS) + text[at:]
        elif what == 1:
            text = text[:at] + chance.choice(TOKENS) + text[to:]
        elif what == 2:
            text = text[:at] + text[to:]
        elif what == 3:
            text = text[:at] + text[at:to] * chance.choice((2, 3, 40)) + text[to:]
        elif what == 4:
            text = text[:at] + chr(chance.choice((chance.randrange(128), chance.randrange(0x3000))))
            text += messages()[chance.randrange(len(messages()))][to:]
        else:
            text = text[: at if chance.random() < 0.3 else len(text)]
    return text[:20_000]


def line(chance: random.Random) -> str:
    """A line of the corpus, damaged, in up to three wrappers, damaged again."""
    text = mutated(chance.choice(messages()), chance)
    wrappers = tuple(WRAPPERS.values())
    if chance.random() < 0.05:
        text = journald(list(text.encode("utf-8", "replace")))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        text = chance.choice(wrappers)(text)
    return mutated(text, chance) if chance.random() < 0.4 else text


def log(chance: random.Random) -> bytes:
    """Some lines, with any line ends; now and then one that is too long."""
    parts: list[bytes] = []
    for _ in range(chance.choice((1, 2, 3, 8))):
        content = line(chance)
        if chance.random() < 0.002:
            content = content * (1 + 280_000 // max(1, len(content)))
        parts += (bytes_of(content), chance.choice((b"\n", b"\n", b"\r\n", b"\n\n", b"\r", b"")))
    return b"".join(parts)


def hostile(chance: random.Random) -> bytes:
    """Choices, and tokens in any order behind them."""
    tokens = "".join(chance.choice(TOKENS) for _ in range(chance.choice((0, 1, 2, 3, 5, 9))))
    text = mutated(tokens or chance.choice(messages()), chance)
    return chance.randbytes(8) + bytes_of(text)


def noise(chance: random.Random) -> bytes:
    """Bytes for choices alone."""
    return chance.randbytes(chance.choice((4, 16, 64)))
