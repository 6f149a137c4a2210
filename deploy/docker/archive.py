"""What is in an OCI archive: names, settings, files and sizes of an image?

Reads the archive file alone, no engine: what a registry or a node would be given. Every blob is
checked against its digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "index.json"
WHITEOUT = ".wh."


class ArchiveError(Exception):
    """The file is no OCI archive of one image; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One path of the image as a container sees it (no leading slash)."""

    path: str
    mode: int
    size: int
    kind: str  # "file", "folder", "link" (symbolic or hard), "other"
    uid: int


@dataclass(frozen=True)
class Image:
    """One image: sizes are in bytes; ``unpacked_bytes`` is the sum of its layers' files."""

    name: str
    digest: str
    config: dict[str, Any]
    archive_bytes: int
    unpacked_bytes: int
    entries: dict[str, Entry]

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels."""
        return dict(self.config.get("config", {}).get("Labels") or {})


def read(path: Path) -> Image:
    """The one image of an archive.

    Raises:
        ArchiveError: not an OCI archive, more than one image, or a blob with a wrong digest.
    """
    try:
        with tarfile.open(path) as tar:
            return _read(tar, path.stat().st_size)
    except (tarfile.TarError, KeyError, ValueError, OSError) as error:
        raise ArchiveError(f"{path.name}: not an OCI archive: {error!r}") from error


def _read(tar: tarfile.TarFile, archive_bytes: int) -> Image:
    manifests = json.loads(_member(tar, INDEX))["manifests"]
    if len(manifests) != 1:
        raise ArchiveError(f"one image expected, {len(manifests)} found")
    annotations = manifests[0].get("annotations", {})
    manifest = json.loads(_blob(tar, manifests[0]["digest"]))
    entries: dict[str, Entry] = {}
    unpacked = 0
    for layer in manifest["layers"]:
        unpacked += _apply(_blob(tar, layer["digest"]), entries)
    return Image(
        name=annotations.get("io.containerd.image.name")
        or annotations.get("org.opencontainers.image.ref.name", ""),
        digest=manifests[0]["digest"],
        config=json.loads(_blob(tar, manifest["config"]["digest"])),
        archive_bytes=archive_bytes,
        unpacked_bytes=unpacked,
        entries=entries,
    )


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ArchiveError(f"{name} is not a file")
    return file.read()


def _blob(tar: tarfile.TarFile, digest: str) -> bytes:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256":
        raise ArchiveError(f"unknown digest {digest!r}")
    data = _member(tar, f"blobs/sha256/{value}")
    if hashlib.sha256(data).hexdigest() != value:
        raise ArchiveError(f"blob {digest} has other content")
    return data


def _apply(layer: bytes, entries: dict[str, Entry]) -> int:
    """Lay one layer over the entries; returns the bytes of its files."""
    if layer[:2] == b"\x1f\x8b":
        layer = gzip.decompress(layer)
    size = 0
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for member in tar:
            path = member.name.removeprefix("./").strip("/")
            folder, _, name = path.rpartition("/")
            if name.startswith(WHITEOUT):
                _remove(entries, f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
                continue
            size += member.size if member.isreg() else 0
            entries[path] = Entry(path, member.mode, member.size, _kind(member), member.uid)
    return size


def _remove(entries: dict[str, Entry], path: str) -> None:
    below = f"{path}/"
    for known in [each for each in entries if each == path or each.startswith(below)]:
        del entries[known]


def _kind(member: tarfile.TarInfo) -> str:
    if member.isreg():
        return "file"
    if member.isdir():
        return "folder"
    return "link" if member.issym() or member.islnk() else "other"
