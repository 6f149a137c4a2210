"""What is in a small file of the kernel, as text? (sysfs, procfs, pstore)

Invariants: at most ``most`` bytes are read; what is not UTF-8 is replaced; a file that is not
there, or that the kernel refuses to show, is None. Paths are joined under the node's root, so that
a test gives a tree of its own.
"""

from __future__ import annotations

from pathlib import Path

#: Attributes of sysfs are at most a page.
PAGE = 4096


def read(path: Path, most: int = PAGE) -> str | None:
    """The text of a file; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def line(path: Path) -> str:
    """The one line of an attribute, without blanks around it; "" where it cannot be read."""
    return (read(path) or "").strip()


def names(folder: Path) -> list[str]:
    """What is in a folder, by name; nothing where it cannot be listed."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def count(path: Path) -> int | None:
    """A counter; None where there is none ("N/A (no PMA)"), or it is no number."""
    said = line(path)
    return int(said) if said.isascii() and said.isdigit() and len(said) <= 20 else None


def boot_time(root: str) -> int | None:
    """Seconds since 1970 at which the kernel began (proc(5)); None where it cannot be read."""
    for text in (read(Path(root, "proc/stat"), 1024 * 1024) or "").splitlines():
        name, _, value = text.partition(" ")
        if name == "btime" and value.isascii() and value.isdigit():
            return int(value)
    return None
