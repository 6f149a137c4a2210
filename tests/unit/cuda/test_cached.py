"""A clean checkout of code that was compiled before takes its programs out of the cache."""

from __future__ import annotations

import os
from pathlib import Path

from cuda import cached


def build(folder: Path) -> Path:
    """What make leaves: a program is newer than the object that it is made of."""
    (folder / "tests").mkdir(parents=True)
    for number, name in enumerate(("tests/z.o", "host-tests", "architectures")):
        path = folder / name
        path.write_text(name)
        os.utime(path, ns=(0, 10**18 + number))
    (folder / "host-tests").chmod(0o755)
    return folder


def test_what_was_stored_is_restored_as_up_to_date(tmp_path: Path) -> None:
    cache, again = tmp_path / "cache", tmp_path / "again"
    assert cached.store(cache, build(tmp_path / "first"))
    assert cached.restore(cache, again)
    program, part = again / "host-tests", again / "tests" / "z.o"
    assert program.read_text() == "host-tests"
    assert program.stat().st_mode & 0o111
    assert program.stat().st_mtime_ns >= part.stat().st_mtime_ns > 10**18 + 9


def test_what_is_not_whole_is_not_stored(tmp_path: Path) -> None:
    folder = build(tmp_path / "first")
    (folder / "architectures").unlink()
    assert not cached.store(tmp_path / "cache", folder)
    assert not cached.restore(tmp_path / "cache", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_was_built_here_is_not_replaced(tmp_path: Path) -> None:
    cache, here = tmp_path / "cache", build(tmp_path / "here")
    cached.store(cache, build(tmp_path / "first"))
    (here / "host-tests").write_text("newer")
    assert not cached.restore(cache, here)
    assert (here / "host-tests").read_text() == "newer"


def test_a_changed_source_has_another_key(tmp_path: Path) -> None:
    (tmp_path / "cuda").mkdir()
    source = tmp_path / "cuda" / "a.cu"
    source.write_text("1")
    before = cached.key(tmp_path)
    source.write_text("2")
    assert cached.key(tmp_path) != before
    source.write_text("1")
    assert cached.key(tmp_path) == before
