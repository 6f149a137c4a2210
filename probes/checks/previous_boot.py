"""How did the previous boot end?

A panic seldom reaches a log store: whoever ships lines dies with the kernel. What pstore and the
journal have kept becomes a failing result, once: a dump that was told is not told again. A journal
that ends without its own end ("Journal stopped") is told as a warning: power was lost, or the node
was reset.

A dump that was written more than a week before this boot is not told: it is of an older crash, and
lay there when the agent first looked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from parsers.printable import printable
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.errors import Skipped, ToolMissing
from probes.tools.crash import Crash, journal_lines, of_dump, of_lines
from probes.tools.node_files import boot_time, names, read
from probes.tools.reading import ending, excerpt

PSTORES = ("sys/fs/pstore", "var/lib/systemd/pstore")
_JOURNALS = ("var/log/journal", "run/log/journal")
#: What journald writes as its last: SD_MESSAGE_JOURNAL_STOP (systemd/sd-messages.h).
_STOPPED = "MESSAGE_ID=d93fb3c9c24d451a97cea615ce59c00b"
_MOST_DUMPS = 64
_DUMP_LIMIT = 512 * 1024
_MOST_KEPT = 512
#: So long before this boot a crash is no news.
OLD_S = 7 * 86400.0


class PreviousBoot:
    """Signs of a crash that nobody has told yet."""

    def __init__(self) -> None:
        self._spec = CheckSpec(
            "previous-boot",
            "How did the previous boot end?",
            Tier.BOOT,
            Cadence.BOOT,
            deadline_s=60.0,
        )

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        return self._spec

    def run(self, context: Context) -> Iterable[Finding]:
        """A finding for each crash; one for the node where there is none."""
        if context.backend.fake and context.root == "/":
            raise Skipped("a fake backend: this machine is not the node")
        kept = context.before.get("told")
        told = [each for each in kept if isinstance(each, str)] if isinstance(kept, list) else []
        found = list(_of_pstore(context, told)) + list(_of_journal(context, told))
        context.keep["told"] = told[-_MOST_KEPT:]
        if found:
            yield from found
        elif not any(Path(context.root, each).is_dir() for each in (*PSTORES, *_JOURNALS)):
            raise Skipped("neither pstore nor a journal is kept on this node")
        else:
            yield Finding(Outcome.PASS, "pstore and the journal tell of no crash that is new")


def _of_pstore(context: Context, told: list[str]) -> Iterator[Finding]:
    """The dumps of one crash are many files: one finding for each kind and line."""
    seen: dict[Crash, str] = {}
    for path in _dumps(context.root):
        text = read(path, _DUMP_LIMIT)
        if text is None:
            continue
        if _is_old(context.root, path):
            continue
        mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]
        crash = of_dump(text)
        if mark not in told:
            told.append(mark)
            if crash is not None:
                seen.setdefault(crash, path.name)
    lines = {crash.kind for crash in seen if not crash.line.startswith("a dump was written")}
    for crash, name in seen.items():
        if crash.line.startswith("a dump was written") and lines:
            continue  # another part of the same dumps has the words
        yield _fails(crash, f"pstore {printable(name, 64)}")


def _is_old(root: str, path: Path) -> bool:
    """By the time of the file, which is that of the crash, or of the boot after it."""
    booted = boot_time(root)
    try:
        return booted is not None and path.stat().st_mtime < booted - OLD_S
    except OSError:
        return False


def _dumps(root: str) -> Iterator[Path]:
    """Files of pstore, those that systemd has moved into folders too."""
    left = _MOST_DUMPS
    for pstore in PSTORES:
        for folder in (Path(root, pstore), *_folders(Path(root, pstore))):
            for name in names(folder):
                if name.startswith("dmesg") and left > 0 and (folder / name).is_file():
                    left -= 1
                    yield folder / name


def _folders(folder: Path) -> Iterator[Path]:
    """Two levels below: systemd-pstore makes one for the time, and one for the dump."""
    for name in names(folder):
        if (folder / name).is_dir():
            yield folder / name
            yield from (folder / name / each for each in names(folder / name))


def _of_journal(context: Context, told: list[str]) -> Iterator[Finding]:
    folder = next((e for e in _JOURNALS if names(Path(context.root, e))), None)
    if folder is None:
        return
    directory = (
        "journalctl",
        "-D",
        str(Path(context.root, folder)),
        "--no-pager",
        "-q",
        "-b",
        "-1",
    )
    try:
        output = context.tool((*directory, "-k", "-n", "200", "-o", "json"), deadline_s=20.0)
        ended = context.tool((*directory, "-n", "1", "-o", "json", _STOPPED), deadline_s=20.0)
    except ToolMissing:
        return
    if output.returncode != 0:
        said = output.stderr + output.stdout
        if "boot" not in said:  # there is no earlier boot in it: nothing to tell
            yield Finding(Outcome.ERROR, f"journalctl ({ending(output)}): {excerpt(said)}")
        return
    lines, boot_id = journal_lines(output.stdout)
    if not boot_id or boot_id == context.boot_id or boot_id in told:
        return
    told.append(boot_id)
    crash = of_lines(lines)
    if crash is not None:
        yield _fails(crash, f"journal of boot {boot_id}")
    elif not journal_lines(ended.stdout)[0]:
        last = printable(lines[-1], 200) if lines else "nothing"
        message = f"boot {boot_id} ended without a shutdown; its last kernel line: {last}"
        yield Finding(Outcome.WARN, message, detail={"boot": boot_id})


def _fails(crash: Crash, source: str) -> Finding:
    return Finding(
        Outcome.FAIL,
        f"{crash.kind}: {crash.line}",
        severity="degraded",
        remedy="inspect",
        detail={"kind": crash.kind, "source": source},
    )
