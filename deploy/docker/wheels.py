"""Which wheels go into the build context, and where do they come from?

The project's own are built from a copy of the sources (a build in the checkout would leave files
there and take stale ones along); what they need is downloaded for the Python of the base, binary
only, so that the image's build needs neither a network nor a compiler.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deploy.docker.engine import BasePython, BuildError, call

PACKAGES = ("konduktor_health", "parsers", "probes")
PROJECT_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
PROBE_NAME = "konduktor-health-probe"
PROBE_PACKAGES = ("parsers", "probes")
# What the node part needs beside its extra `probe`; the rest is the controller's.
PROBE_SHARED = ("cryptography", "prometheus-client", "pydantic", "rich")
DOWNLOAD_S = 600.0
OLDEST_GLIBC_MINOR = 5  # manylinux1; wheels say the oldest glibc 2.x they run on


def source_files(root: Path) -> list[Path]:
    """Every file that goes into the project's wheels, sorted."""
    found = [root / name for name in PROJECT_FILES]
    for package in PACKAGES:
        found += [
            path
            for path in (root / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        ]
    return sorted(found)


def content_key(root: Path, files: Iterable[Path], *more: str) -> str:
    """A hash over names and contents of files and over further texts."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    for text in more:
        digest.update(f"\0{len(text)}\0{text}".encode())
    return digest.hexdigest()[:20]


def version(root: Path) -> str:
    """The project's version.

    Raises:
        BuildError: the package does not state one.
    """
    text = (root / "konduktor_health" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise BuildError("konduktor_health/__init__.py states no __version__")
    return found.group(1)


def requirements(root: Path) -> list[str]:
    """What the project needs at run time, as setup.cfg states it."""
    return [
        line
        for line in _setup_cfg(root)["options"]["install_requires"].strip().splitlines()
        if line and not line.startswith("#")
    ]


def probe_requirements(root: Path) -> list[str]:
    """What the node part needs at run time: the extra `probe`, and what it shares.

    Raises:
        BuildError: setup.cfg does not have all of it.
    """
    shared = [line for line in requirements(root) if _named(line) in PROBE_SHARED]
    if len(shared) != len(PROBE_SHARED):
        raise BuildError(f"setup.cfg: install_requires has not all of {', '.join(PROBE_SHARED)}")
    extra = _setup_cfg(root)["options.extras_require"]["probe"].strip().splitlines()
    return sorted([*shared, *extra])


def _named(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]


def platforms(python: BasePython, image: str) -> list[str]:
    """The platform tags of wheels that run on the base.

    Raises:
        BuildError: the base has no glibc.
    """
    found = re.fullmatch(r"2\.(\d+)", python.libc_version)
    if python.libc != "glibc" or found is None:
        raise BuildError(f"base {image} has no glibc (Alpine?): use a Debian or Ubuntu base")
    newest = int(found.group(1))
    # pip takes the first that fits; the newest first is the smallest or fastest build.
    return [
        f"manylinux_2_{minor}_{python.machine}"
        for minor in range(newest, OLDEST_GLIBC_MINOR - 1, -1)
    ] + [f"manylinux2014_{python.machine}"]


def install_backend(root: Path, folder: Path) -> None:
    """Install what pyproject.toml says a wheel is built with; pip would at every build.

    Raises:
        BuildError: the index cannot be reached.
    """
    with (root / "pyproject.toml").open("rb") as file:
        backend = tomllib.load(file)["build-system"]["requires"]
    _pip(["install", f"--target={folder}", *backend], "getting what builds wheels")


def build_project(root: Path, backend: Path, wheels: Path, probe_wheels: Path) -> None:
    """Build the project's wheel, and one of the node part alone, into two folders.

    ``backend``: where install_backend put it.

    Raises:
        BuildError: a build failed.
    """
    with tempfile.TemporaryDirectory(prefix="konduktor-health-wheels-") as scratch:
        whole, probe = Path(scratch, "whole"), Path(scratch, "probe")
        _copy(root, whole, PACKAGES)
        _copy(root, probe, PROBE_PACKAGES)
        write_probe_setup(root, probe)
        for source, folder in ((whole, wheels), (probe, probe_wheels)):
            _pip(
                [
                    "wheel",
                    "--no-deps",
                    "--no-build-isolation",
                    f"--wheel-dir={folder}",
                    str(source),
                ],
                "building wheels",
                {"PYTHONPATH": str(backend)},
            )


def download(needed: Sequence[str], python: BasePython, image: str, folder: Path) -> None:
    """Download these requirements, for the base's Python; binary wheels only.

    pip evaluates environment markers for the Python it runs under, not for the base's. Should a
    package need something on the base's Python only, the image's build fails and names it.

    Raises:
        BuildError: something has no wheel for this base, or the index cannot be reached.
    """
    _pip(
        [
            "download",
            "--only-binary=:all:",
            "--implementation=cp",
            f"--python-version={python.version[0]}.{python.version[1]}",
            *[f"--platform={tag}" for tag in platforms(python, image)],
            f"--dest={folder}",
            *needed,
        ],
        f"downloading wheels for the base {image}",
    )


def download_pip(folder: Path) -> None:
    """Download pip's own wheel.

    Raises:
        BuildError: the index cannot be reached.
    """
    _pip(["download", "--no-deps", "--only-binary=:all:", f"--dest={folder}", "pip"], "getting pip")


def _setup_cfg(root: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(root / "setup.cfg", encoding="utf-8")
    return parsed


def _copy(root: Path, target: Path, packages: Sequence[str]) -> None:
    target.mkdir()
    for name in PROJECT_FILES:
        shutil.copy(root / name, target / name)
    for package in packages:
        shutil.copytree(
            root / package, target / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )


def write_probe_setup(root: Path, target: Path) -> None:
    """The project's setup.cfg, less everything that is not the node part's."""
    parsed = _setup_cfg(root)
    parsed["metadata"]["name"] = PROBE_NAME
    parsed["metadata"]["version"] = version(root)
    parsed["options"]["install_requires"] = "\n" + "\n".join(probe_requirements(root))
    parsed.remove_section("options.extras_require")
    parsed["options.packages.find"]["include"] = "".join(
        f"\n{name}\n{name}.*" for name in PROBE_PACKAGES
    )
    for name in [name for name in parsed["options.package_data"] if name not in PROBE_PACKAGES]:
        del parsed["options.package_data"][name]
    parsed["options.entry_points"]["console_scripts"] = "\nkonduktor-probe = probes.cli:main"
    with (target / "setup.cfg").open("w", encoding="utf-8") as file:
        parsed.write(file)


def _pip(arguments: Sequence[str], what: str, environment: Mapping[str, str] | None = None) -> None:
    call(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments],
        what=what,
        limit_s=DOWNLOAD_S,
        environment=environment,
    )
