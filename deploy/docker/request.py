"""What was asked of the image build?"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.docker import wheels

DEFAULT_BASE = "python:3.13-slim"
# What goes into an image: a commit that touches none of it makes no other image.
INPUTS = (*wheels.PACKAGES, *wheels.PROJECT_FILES, "deploy/docker")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PREFIX = re.compile(r"(?:[a-z0-9]+(?:[._:-][a-z0-9]+)*/)*")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_REVISION = re.compile(r"[A-Za-z0-9._/-]{1,128}")


@dataclass(frozen=True)
class Options:
    """What was asked for; ``base`` and ``probe_base`` are "" with ``plain``."""

    base: str
    probe_base: str
    plain: bool
    engine: str
    out: Path
    tag: str
    name_prefix: str
    revision: str
    force: bool


def parse(root: Path, arguments: Sequence[str] | None) -> Options:
    """The command line; ends the program with 2 on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description="Build both images into OCI archives (build/images).",
        epilog="docs/reference/images.md says what is in them and how to publish them.",
    )
    parser.add_argument("--base", help=f"base image, by digest for a release ({DEFAULT_BASE})")
    parser.add_argument("--probe-base", help="base of the probe, e.g. CUDA with Python (--base)")
    parser.add_argument(
        "--plain", action="store_true", help="make the base from Debian packages (root, buildah)"
    )
    parser.add_argument("--engine", choices=("buildah", "docker"), default="")
    parser.add_argument("--out", type=Path, default=root / "build" / "images")
    parser.add_argument("--tag", default=wheels.version(root), help="(%(default)s)")
    parser.add_argument("--name-prefix", default="localhost/", help="(%(default)s)")
    parser.add_argument("--revision", help="label: source revision (asked of git)")
    parser.add_argument("--force", action="store_true", help="use nothing that was made before")
    given = parser.parse_args(arguments)
    if given.plain and (given.base or given.probe_base):
        parser.error("--plain makes the base: it does not go with --base or --probe-base")
    if given.plain and given.engine == "docker":
        parser.error("--plain is built with buildah, not with docker")
    for option, value in (("--base", given.base), ("--probe-base", given.probe_base)):
        if value is not None and not _REFERENCE.fullmatch(value):
            parser.error(f"{option}: {value!r} is no image name")
    if not _TAG.fullmatch(given.tag):
        parser.error(f"--tag: {given.tag!r} is no image tag")
    if not _PREFIX.fullmatch(given.name_prefix):
        parser.error(
            f"--name-prefix: {given.name_prefix!r} has to be like localhost/ or host/team/"
        )
    revision = git_revision(root) if given.revision is None else given.revision
    if not _REVISION.fullmatch(revision):
        parser.error(f"--revision: {revision!r} is no revision")
    base = "" if given.plain else given.base or DEFAULT_BASE
    return Options(
        base=base,
        probe_base="" if given.plain else given.probe_base or base,
        plain=given.plain,
        engine="buildah" if given.plain else given.engine,
        out=given.out.resolve(),
        tag=given.tag,
        name_prefix=given.name_prefix,
        revision=revision,
        force=given.force,
    )


def git_revision(root: Path) -> str:
    """The last commit that changed what goes into the images; "unknown" without git.

    Uncommitted changes of it add "-dirty".
    """
    try:
        commit = _git(root, "log", "-1", "--format=%H", "--", *INPUTS)
        changed = _git(root, "status", "--porcelain", "--", *INPUTS)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (commit + ("-dirty" if changed else "")) if commit else "unknown"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(  # noqa: S603 - a list, no shell; git's own commands
        command, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()
