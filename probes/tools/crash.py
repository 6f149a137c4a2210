"""What did the kernel say when it died? Dumps of pstore, and lines of a journal.

pstore keeps the end of the kernel log over a crash: ``dmesg-efi_pstore-…``, ``dmesg-erst-…``,
``dmesg-ramoops-0`` in /sys/fs/pstore, or moved to /var/lib/systemd/pstore by systemd-pstore (there
put together as ``dmesg.txt``). Each begins with a reason and a part, ``Panic#2 Part1``; lines have
the level before them, ``<0>[148180.683393] Kernel panic - …``.

Invariant: text of a dump is hostile: lines are bounded and printable, and only known words make a
sign.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from parsers.printable import printable
from probes.errors import CheckError

#: Words of a kernel that is dying, the worst first: (pattern, what it is).
_SIGNS = (
    (re.compile(r"Kernel panic - not syncing"), "panic"),
    # "Machine check events logged" and "Machine Check: 0 Bank 7" are of corrected errors; an
    # exception is none (arch/x86/kernel/cpu/mce/core.c of Linux).
    (
        re.compile(
            r"mce: \[Hardware Error\]: (?:CPU [0-9]+: Machine Check Exception|Machine check: )"
            r"|\[Hardware Error\]:? .*(?<![Nn]on-)[Ff]atal"
        ),
        "hardware error",
    ),
    (re.compile(r"NMI watchdog: Watchdog detected hard LOCKUP|hard LOCKUP on cpu"), "hard lockup"),
    (re.compile(r"PANIC: double fault|double fault: [0-9a-f]{4} \[#"), "double fault"),
    (
        re.compile(r"BUG: unable to handle|kernel BUG at |Oops: |Oops#|general protection fault"),
        "oops",
    ),
    (re.compile(r"watchdog: BUG: soft lockup"), "soft lockup"),
)
_HEADER = re.compile(
    r"(Panic|Oops|Emergency|Shutdown|Halt|Poweroff|Restart|Unknown)#[0-9]{1,6} Part[0-9]{1,6}"
)
_PREFIX = re.compile(r"^(?:<[0-9]{1,3}>)?(?:\[ *[0-9]+\.[0-9]+\](?:\[ *[TC][0-9]+\])? ?)?")
_MOST_LINES = 20_000
_LINE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Crash:
    """A sign of how a boot ended."""

    kind: str  # "panic"
    line: str  # the line that says so


def of_dump(text: str) -> Crash | None:
    """The worst sign in a dump of pstore; None in one that was written at an orderly end.

    A dump that was written in a panic or an oops is one, whatever its lines say."""
    lines = text.splitlines()[:_MOST_LINES]
    crash = of_lines(
        [_PREFIX.sub("", line) for line in lines if not _HEADER.fullmatch(line.strip())]
    )
    if crash is not None:
        return crash
    reasons = [found[1] for line in lines if (found := _HEADER.fullmatch(line.strip()))]
    for reason, kind in (("Panic", "panic"), ("Oops", "oops"), ("Emergency", "emergency")):
        if reason in reasons:
            return Crash(kind, f"a dump was written ({reason})")
    return None


def of_lines(lines: list[str]) -> Crash | None:
    """The worst sign in lines of a kernel log, the first of its kind."""
    for pattern, kind in _SIGNS:
        for line in lines:
            if pattern.search(line[: 4 * _LINE_LIMIT]):
                return Crash(kind, printable(line, _LINE_LIMIT))
    return None


def journal_lines(text: str) -> tuple[list[str], str]:
    """The messages of ``journalctl -o json``, and the boot that they are of.

    A message that is not UTF-8 is a list of bytes there. Raises CheckError for what is no JSON."""
    messages, boot_id = [], ""
    for line in text.splitlines()[:_MOST_LINES]:
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise CheckError("journalctl: a line that is no JSON") from None
        if not isinstance(entry, dict):
            raise CheckError("journalctl: a line that is no JSON object")
        message, boot = entry.get("MESSAGE"), entry.get("_BOOT_ID")
        if isinstance(message, list):
            message = bytes(b for b in message if isinstance(b, int) and 0 <= b < 256).decode(
                "utf-8", "replace"
            )
        if isinstance(message, str):
            messages.append(message)
        if isinstance(boot, str) and re.fullmatch(r"[0-9a-f]{32}", boot):
            boot_id = boot
    return messages, boot_id
