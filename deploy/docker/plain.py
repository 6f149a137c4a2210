"""What is a base image made of where no registry can be reached?

Debian packages, unpacked by mmdebstrap: a shell, coreutils, python3, certificates. Unpacked and
not configured: no package's scripts run, so apt, dpkg and perl need not be in it, and it takes
seconds. plain-base.Dockerfile does the little that those scripts would have done.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from deploy.docker.engine import BuildError, call

SUITE = "bookworm"
_BOTH = (
    "base-files", "base-passwd", "ca-certificates", "coreutils", "dash", "grep", "libc-bin",
    "libstdc++6", "python3",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Which image a base is for, and the Debian packages in it."""

    name: str
    packages: tuple[str, ...]


CONTROLLER = Kind("controller", _BOTH)
#: iperf3 and ping are what the network checks run.
PROBE = Kind("probe", (*_BOTH, "iperf3", "iputils-ping"))
# Not read by anything in the images: documentation, translations, character sets, the standard
# library's own tests, and what only package scripts need (they do not run).
EXCLUDED = (
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*",
    "/usr/share/lintian/*", "/usr/share/bug/*", "/usr/share/perl5/*", "/usr/share/debconf/*",
    "/usr/share/zsh/*", "/usr/share/bash-completion/*", "/usr/share/menu/*",
    "/usr/lib/x86_64-linux-gnu/gconv/*", "/usr/lib/aarch64-linux-gnu/gconv/*",
    "/usr/lib/python3*/test/*", "/usr/lib/python3*/pydoc_data/*", "/usr/lib/python3*/turtle.py",
    "/usr/bin/openssl", "/usr/bin/perl*", "/usr/bin/dpkg*", "/usr/bin/tar",
    "/usr/share/python3/*", "/usr/lib/dpkg/*", "/var/lib/dpkg/*", "/usr/bin/debconf*",
    "/usr/sbin/*", "/etc/cron.daily/*", "/etc/logrotate.d/*",
    # accounts and PAM: iperf3's package wants a user for a service that is never started
    "/usr/bin/chage", "/usr/bin/chfn", "/usr/bin/chsh", "/usr/bin/expiry", "/usr/bin/gpasswd",
    "/usr/bin/passwd", "/sbin/unix_*", "/usr/lib/*/security/*", "/usr/bin/deb-systemd-*",
)  # fmt: skip
# What this machine left in the root file system: its name, its resolver, device nodes (a container
# gets its own).
FOREIGN = re.compile(r"\./(?:dev/.+|etc/resolv\.conf|etc/hostname|var/lib/apt/.+|var/cache/.+)")
UNPACK_S = 900.0
MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")


def describe(kind: Kind) -> str:
    """Everything that decides what is in the root file system, for a cache key."""
    return repr((SUITE, kind.packages, EXCLUDED, FOREIGN.pattern, os.uname().machine))


def unpack(target: Path, kind: Kind) -> None:
    """Write the root file system as a tar file.

    Raises:
        BuildError: mmdebstrap is missing, too old, or failed.
    """
    if shutil.which("mmdebstrap") is None or not MERGED_USR.is_dir():
        raise BuildError(
            "--plain makes its base with mmdebstrap, which is not there: on Debian and Ubuntu"
            " apt-get install mmdebstrap"
        )
    part, clean = target.with_suffix(".part.tar"), target.with_suffix(".clean.tar")
    try:
        call(
            [
                "mmdebstrap",
                "--quiet",
                "--mode=root",
                "--variant=extract",
                "--format=tar",
                f"--include={','.join(kind.packages)}",
                *[f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED],
                f"--hook-dir={MERGED_USR}",
                SUITE,
                str(part),
            ],
            what="making the plain base from Debian packages",
            limit_s=UNPACK_S,
        )
        _without_foreign(part, clean)
        clean.rename(target)
    finally:
        part.unlink(missing_ok=True)
        clean.unlink(missing_ok=True)


def _without_foreign(source: Path, target: Path) -> None:
    with tarfile.open(source) as full, tarfile.open(target, "w") as kept:
        for member in full:
            if not FOREIGN.fullmatch(member.name):
                kept.addfile(member, full.extractfile(member) if member.isreg() else None)
