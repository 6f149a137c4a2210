"""Which Debian packages do the tests run on, and where do they lie?

The real node: containerd, runc, CNI plug-ins and busybox. The end-to-end tests: libfaketime, for
wall clocks that jump. They are taken from Debian's archive and only extracted
(no maintainer script runs, nothing is installed, /etc/apt stays as it is). They lie in the cache
beside the built servers. The key is a hash of the table below: suites move on, so what was
extracted once stays until the table changes, and every program is run once and has to be new
enough before the folder gets its name. A program that does not run here (too new for this libc)
or is too old is looked for in the next suite of its line.

Run ``python tests/servers/debs.py`` (or ``make debs``) to fetch what is missing; ``--list`` shows
what is there, ``--check`` exits 1 when it is missing. The mirror is the one that apt uses here
(``NODE_TESTS_DEBIAN`` names another). Standard library only; needs apt and dpkg, not root.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as a script too
from tests.servers.build import cache_root


@dataclass(frozen=True)
class Package:
    """One Debian package: the suites to try in turn, and the program that proves it works.

    ``program`` lies in the extracted folder; the first match of ``pattern`` in its output for
    ``argument`` is the version, of which ``least`` is needed. ``preloads``: the program is this
    machine's own, with the library of that path (a pattern) loaded before its others.
    """

    name: str
    suites: tuple[str, ...]
    program: str
    argument: str
    least: tuple[int, int]
    pattern: str = r"\bv?(\d+)\.(\d+)[.\w~+-]*"
    preloads: str = field(default="", repr=False)  # the key is made of the others


# kubelet 1.36 needs the CRI of containerd 2; newer runc packages need a newer libc than bookworm's.
PACKAGES = (
    Package("containerd", ("forky", "sid"), "usr/bin/containerd", "--version", (2, 1)),
    Package("runc", ("bookworm", "trixie", "forky"), "usr/sbin/runc", "--version", (1, 1)),
    Package(
        "containernetworking-plugins",
        ("forky", "trixie", "sid"),
        "usr/lib/cni/bridge",
        "--version",
        (1, 0),
        r"(?<=, )(\d+)\.(\d+)\.\d+(?=\s*$)",  # the newest CNI protocol: it knows no own version
    ),
    Package("busybox-static", ("forky", "trixie", "sid"), "usr/bin/busybox", "--help", (1, 35)),
)
# By tests: "node" (the real kubelet) and "e2e".
FAKETIME = "usr/lib/*/faketime/libfaketimeMT.so.1"
SUITES: dict[str, tuple[Package, ...]] = {
    "node": PACKAGES,
    "e2e": (
        Package(
            "libfaketime",
            ("bookworm", "trixie", "forky"),
            "/bin/date",
            "+%Y.%m",
            (2031, 1),  # what it says under the library: that is what has to work
            preloads=FAKETIME,
        ),
    ),
}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class DebsError(Exception):
    """A package could not be had; the message says which and why."""


def root(suite: str = "node") -> Path:
    """Where the extracted packages of these tests lie (or would lie)."""
    digest = hashlib.sha256(repr((SUITES[suite], platform.machine())).encode()).hexdigest()
    return cache_root() / f"debs-{digest[:16]}"


def find(suite: str = "node") -> Path | None:
    """The folder with the extracted packages, or None when they have to be fetched first."""
    return root(suite) if root(suite).is_dir() else None


def faketime() -> Path | None:
    """The library that moves a process's wall clock, or None when it has to be fetched first."""
    folder = find("e2e")
    return next(folder.glob(FAKETIME), None) if folder else None


def version(package: Package, folder: Path) -> str:
    """What the extracted program says of itself. DebsError: it does not run, or is too old."""
    environment = dict(os.environ)
    if package.preloads:
        library = next(folder.glob(package.preloads), None)
        if library is None:
            raise DebsError(f"{package.name} has no {package.preloads}")
        environment |= {"LD_PRELOAD": str(library), "FAKETIME": "@2031-02-03 04:05:06"}
    try:
        done = subprocess.run(
            [str(folder / package.program), package.argument],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DebsError(f"{package.name} does not run here: {error}") from error
    said = done.stdout + done.stderr
    found = re.search(package.pattern, said)
    if found is None:
        raise DebsError(f"{package.name} does not run here: {said.strip()[:300]!r}")
    if (int(found[1]), int(found[2])) < package.least:
        raise DebsError(f"{package.name} {found[0]} is older than {package.least}")
    return found[0]


def ensure(suite: str = "node") -> Path:
    """The folder, fetching everything when it is not there. One process at a time (file lock)."""
    cache_root().mkdir(parents=True, exist_ok=True)
    with (cache_root() / "debs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if find(suite) is None:
            if missing := [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]:
                raise DebsError(f"{' and '.join(missing)} needed: this runs on Debian and Ubuntu")
            partial = root(suite).with_name(root(suite).name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            with tempfile.TemporaryDirectory(prefix="konduktor-health-debs-") as scratch:
                archive = _Archive(Path(scratch), _mirror())
                for package in SUITES[suite]:
                    _fetch(package, archive, partial)
            partial.rename(root(suite))
    return root(suite)


def _fetch(package: Package, archive: _Archive, folder: Path) -> None:
    reasons = []
    for suite in package.suites:
        with tempfile.TemporaryDirectory(prefix="konduktor-health-debs-") as trial:
            try:
                archive.extract(package.name, suite, Path(trial))
                version(package, Path(trial))
            except DebsError as error:
                reasons.append(f"{suite}: {error}")
                continue
            shutil.copytree(trial, folder, symlinks=True, dirs_exist_ok=True)
            return
    raise DebsError(f"no usable {package.name}:\n  " + "\n  ".join(reasons))


class _Archive:
    """apt with lists, cache and sources of its own, one set per suite."""

    def __init__(self, scratch: Path, mirror: str) -> None:
        if not _KEYRING.is_file():
            raise DebsError(f"{_KEYRING} is missing: install debian-archive-keyring")
        self._scratch = scratch
        self._mirror = mirror

    def extract(self, name: str, suite: str, target: Path) -> None:
        """Download a package of a suite and unpack it. DebsError when there is none."""
        options = self._options(suite)
        into = Path(tempfile.mkdtemp(dir=self._scratch))
        _output(["apt-get", *options, "download", f"{name}/{suite}"], cwd=into)
        for file in into.glob("*.deb"):
            _output(["dpkg-deb", "-x", str(file), str(target)], cwd=into)

    def _options(self, suite: str) -> list[str]:
        home = self._scratch / suite
        settings = {
            "Dir::Etc::SourceList": home / "sources.list",
            "Dir::Etc::SourceParts": "/nonexistent",
            "Dir::State::Lists": home / "lists",
            "Dir::State::Status": home / "status",  # empty: what is installed here plays no part
            "Dir::Cache": home / "cache",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::PDiffs": "false",
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        if not home.exists():
            (home / "lists" / "partial").mkdir(parents=True)
            (home / "cache" / "archives" / "partial").mkdir(parents=True)
            (home / "status").touch()
            line = f"deb [signed-by={_KEYRING}] {self._mirror} {suite} main\n"
            (home / "sources.list").write_text(line, encoding="utf-8")
            try:
                _output(["apt-get", *options, "update", "--error-on=any"], cwd=home)
            except DebsError:
                shutil.rmtree(home)
                raise
        return options


def _mirror() -> str:
    """The Debian mirror of this machine's apt, or the one that the environment names."""
    named = os.environ.get("NODE_TESTS_DEBIAN")
    if named:
        return named
    # --no-release-info: without it nothing is listed before a first `apt-get update`.
    command = ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"]
    listed = _output(command, cwd=Path("/"))
    for uri in listed.splitlines():
        if uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    raise DebsError("apt here has no Debian mirror: set NODE_TESTS_DEBIAN to the URL of one")


def _output(command: list[str], cwd: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DebsError(str(error)) from error
    if done.returncode:
        words = [command[0], *(word for word in command[1:] if "=" not in word and word != "-o")]
        raise DebsError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def main() -> int:
    """Command line: fetch what is missing, or only list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--list", action="store_true", help="only show what is there")
    parser.add_argument("--check", action="store_true", help="exit 1 when they are missing")
    parser.add_argument("--suite", choices=[*SUITES], default="node", help="for these tests")
    arguments = parser.parse_args()
    suite = arguments.suite
    if arguments.check:
        return 0 if find(suite) else 1
    try:
        folder = find(suite) if arguments.list else ensure(suite)
        for package in SUITES[suite]:
            found = f"{version(package, folder):12} {folder / package.program}" if folder else None
            print(f"{package.name:28} {found or 'missing (make debs)'}")
    except (DebsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
