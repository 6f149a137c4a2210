"""How is an image built, asked and saved with buildah or docker?

Both give the same: an image from a Dockerfile, without a network in its steps where the engine
can refuse one, and an OCI archive that carries the image's name. Every call has a deadline.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# Prints what wheels have to fit: version, machine, C library.
ASK_PYTHON = (
    "import json, platform, sys; print(json.dumps([list(sys.version_info[:2]),"
    " platform.machine(), list(platform.libc_ver())]))"
)
QUERY_S = 120.0
PULL_S = 900.0
BUILD_S = 900.0


class BuildError(Exception):
    """An image could not be built; the message says which step, and what to do."""


@dataclass(frozen=True)
class BasePython:
    """The Python of a base image, and what its binary wheels have to fit."""

    version: tuple[int, int]
    machine: str
    libc: str
    libc_version: str

    @classmethod
    def parse(cls, text: str, image: str) -> BasePython:
        """From the answer to ASK_PYTHON.

        Raises:
            BuildError: not an answer, or a Python that is too old.
        """
        try:
            version, machine, (libc, libc_version) = json.loads(text.strip().splitlines()[-1])
            found = cls((int(version[0]), int(version[1])), machine, libc, libc_version)
        except (ValueError, IndexError, TypeError) as error:
            raise BuildError(f"base {image}: its python3 gave no usable answer: {error}") from error
        if found.version < (3, 11):
            raise BuildError(
                f"base {image} has Python {found.version[0]}.{found.version[1]}; 3.11 is needed"
            )
        return found


class Engine(Protocol):
    """What the build needs of a container engine; every method may raise BuildError."""

    name: str

    def tidy(self) -> None:
        """Remove what a build that was cut off left, where this program owns the store."""

    def build(
        self, dockerfile: Path, context: Path, image: str, arguments: Mapping[str, str]
    ) -> None:
        """Build a Dockerfile into an image of that name."""

    def exists(self, image: str) -> bool:
        """Whether the image is in the local store."""

    def python_of(self, image: str) -> BasePython:
        """What python3 an image has (pulls it where it is not local)."""

    def digest_of(self, image: str) -> str:
        """The digest of a local image's manifest; "" when the engine knows none."""

    def save(self, image: str, archive: Path) -> None:
        """Write the image as an OCI archive with its name in it."""

    def remove(self, image: str) -> None:
        """Remove the image, where this program owns the store."""


def call(
    command: Sequence[str],
    *,
    what: str,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Standard output of a command.

    Raises:
        BuildError: it failed or took too long; with the end of what it printed.
    """
    try:
        # A list and no shell; the build's own commands. A group of its own, so that a deadline
        # ends what the command started too: it would hold the pipe open.
        process = subprocess.Popen(  # noqa: S603 - see above
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise BuildError(f"{what}: {error}") from error
    with process:
        try:
            said, complained = process.communicate(timeout=limit_s)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BuildError(f"{what}: not done within {limit_s:g} s") from error
            raise
    if process.returncode != 0:
        last = (complained.strip() or said.strip()).splitlines()[-15:]
        raise BuildError("\n  ".join([f"{what} failed:", *last]))
    return said


class Buildah:
    """buildah; with a private store it needs neither overlay file systems nor namespaces."""

    name = "buildah"

    def __init__(self, store: Path | None) -> None:
        """``store``: a folder for images; None is the user's own storage and settings."""
        self._private = store is not None
        self._options: list[str] = []
        self._environment: dict[str, str] = {}
        if store is not None:
            self._options = ["--root", str(store / "root"), "--runroot", str(store / "run")]
            self._environment = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}

    def _run(self, *arguments: str, what: str, limit_s: float = QUERY_S) -> str:
        return call(
            ["buildah", *self._options, *arguments],
            what=what,
            limit_s=limit_s,
            environment=self._environment,
        )

    def tidy(self) -> None:
        """See Engine."""
        if self._private:
            self._run("rm", "--all", what="removing old working containers")

    def build(
        self, dockerfile: Path, context: Path, image: str, arguments: Mapping[str, str]
    ) -> None:
        """See Engine. chroot isolation has no network of its own to refuse."""
        isolation = self._environment.get("BUILDAH_ISOLATION") or os.environ.get(
            "BUILDAH_ISOLATION"
        )
        self._run(
            "bud",
            *([] if isolation == "chroot" else ["--network", "none"]),
            *[f"--build-arg={key}={value}" for key, value in arguments.items()],
            "--format=oci",
            f"--tag={image}",
            f"--file={dockerfile}",
            str(context),
            what=f"building {image}",
            limit_s=BUILD_S,
        )

    def exists(self, image: str) -> bool:
        """See Engine."""
        listed = self._run("images", "--format={{.Name}}:{{.Tag}}", what="listing images")
        return image in listed.split()

    def python_of(self, image: str) -> BasePython:
        """See Engine."""
        container = self._run(
            "from", image,
            what=f"getting the base {image} (buildah wants its registry host in front of the name)",
            limit_s=PULL_S,
        ).split()[-1]  # fmt: skip
        try:
            said = self._run(
                "run", container, "--", "python3", "-c", ASK_PYTHON,
                what=f"asking the base {image} for its python3 (it needs one, 3.11 or newer)",
            )  # fmt: skip
        finally:
            self._run("rm", container, what="removing a working container")
        return BasePython.parse(said, image)

    def digest_of(self, image: str) -> str:
        """See Engine."""
        return self._run(
            "inspect", "--type=image", "--format={{.FromImageDigest}}", image,
            what=f"asking for the digest of {image}",
        ).strip()  # fmt: skip

    def save(self, image: str, archive: Path) -> None:
        """See Engine."""
        self._run(
            "push", "--quiet", image, f"oci-archive:{archive}:{image}",
            what=f"writing {archive.name}", limit_s=BUILD_S,
        )  # fmt: skip

    def remove(self, image: str) -> None:
        """See Engine: what was built into a private store lies in the archive already."""
        if self._private:
            self._run("rmi", "--force", image, what=f"removing {image}")


class Docker:
    """docker 25 or newer: from there on `docker save` writes OCI archives."""

    name = "docker"

    def tidy(self) -> None:
        """See Engine: docker's store is the user's."""

    def build(
        self, dockerfile: Path, context: Path, image: str, arguments: Mapping[str, str]
    ) -> None:
        """See Engine."""
        built = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        call(
            ["docker", "build", "--network=none", *built, f"--tag={image}",
             f"--file={dockerfile}", str(context)],
            what=f"building {image}", limit_s=BUILD_S,
        )  # fmt: skip

    def exists(self, image: str) -> bool:
        """See Engine."""
        found = call(["docker", "images", "--quiet", image], what="listing images", limit_s=QUERY_S)
        return bool(found.strip())

    def python_of(self, image: str) -> BasePython:
        """See Engine."""
        said = call(
            ["docker", "run", "--rm", "--network=none", "--entrypoint=python3", image,
             "-c", ASK_PYTHON],
            what=f"asking the base {image} for its python3 (it needs one, 3.11 or newer)",
            limit_s=PULL_S,
        )  # fmt: skip
        return BasePython.parse(said, image)

    def digest_of(self, image: str) -> str:
        """See Engine."""
        said = call(
            ["docker", "image", "inspect", "--format={{json .RepoDigests}}", image],
            what=f"asking for the digest of {image}", limit_s=QUERY_S,
        )  # fmt: skip
        digests = json.loads(said) or []
        return str(digests[0]).rpartition("@")[2] if digests else ""

    def save(self, image: str, archive: Path) -> None:
        """See Engine."""
        call(
            ["docker", "save", f"--output={archive}", image],
            what=f"writing {archive.name}", limit_s=BUILD_S,
        )  # fmt: skip

    def remove(self, image: str) -> None:
        """See Engine: docker's store is the user's."""


def find(name: str, store: Path | None) -> Engine:
    """The engine of that name; "" takes buildah where it is, else docker.

    Raises:
        BuildError: not installed, or not usable by this user.
    """
    names = [name] if name else ["buildah", "docker"]
    present = next((each for each in names if shutil.which(each)), None)
    if present is None:
        raise BuildError(
            f"{' or '.join(names)} is needed and not on PATH: on Debian and Ubuntu"
            f" apt-get install {'docker.io' if name == 'docker' else 'buildah'}"
        )
    if present == "docker":
        return Docker()
    if store is not None and os.geteuid() != 0:
        raise BuildError("--plain needs root (it unpacks Debian packages into a root file system)")
    return Buildah(store)
