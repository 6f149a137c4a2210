"""Which public keys may sign requests?

Read from a file, or from all files of a directory (a mounted ConfigMap), and read again when
something there has changed: a rotation needs no restart, and several keys are good at once.

Invariants: a file that holds no Ed25519 public key is told and costs that file alone; when the
directory is gone, so are the keys.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from probes.agent.log import Log
from probes.report import key_id

_MOST_FILES = 16
_MOST_BYTES = 16 * 1024
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----[^-]{1,4096}-----END PUBLIC KEY-----")
_LOOK_EVERY_S = 1.0

_Seen = tuple[tuple[str, int, int, int], ...]  # name, inode, size, mtime of each file


class PublicKeys:
    """Any thread. A key is known by ``probes.report.key_id``, and one that is alone in its file by
    the file's name without its ending too."""

    def __init__(self, path: str, log: Log, monotonic: Callable[[], float]) -> None:
        self._path, self._log, self._monotonic = path, log, monotonic
        self._lock = threading.Lock()
        self._looked = -_LOOK_EVERY_S
        self._seen: _Seen | None = None
        self._keys: Mapping[str, Ed25519PublicKey] = {}

    def ids(self) -> tuple[str, ...]:
        """Names of the keys that are good now."""
        return tuple(self._current())

    def count(self) -> int:
        """How many keys are good now."""
        return len({key.public_bytes_raw() for key in self._current().values()})

    def verifies(self, name: str, signature: bytes, signed: bytes) -> bool:
        """Whether the key of this name made this signature."""
        key = self._current().get(name)
        if key is None:
            return False
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    def _current(self) -> Mapping[str, Ed25519PublicKey]:
        with self._lock:
            now = self._monotonic()
            if now - self._looked >= _LOOK_EVERY_S:
                self._looked = now
                files = self._files()
                seen = tuple(_stamps(files))
                if seen != self._seen:
                    self._seen = seen
                    self._keys = dict(self._read(files))
                    self._log.info(
                        "public keys are read", path=self._path, keys=", ".join(self._keys)
                    )
            return self._keys

    def _files(self) -> list[str]:
        try:
            names = sorted(os.listdir(self._path))
        except NotADirectoryError:
            return [self._path]
        except OSError:
            return []
        # A ConfigMap's own entries (..data, ..2026_...) are where the links point.
        paths = [os.path.join(self._path, name) for name in names if not name.startswith(".")]
        return [path for path in paths if os.path.isfile(path)][:_MOST_FILES]

    def _read(self, files: list[str]) -> Iterator[tuple[str, Ed25519PublicKey]]:
        for path in files:
            try:
                with open(path, "rb") as file:
                    content = file.read(_MOST_BYTES)
            except OSError as error:
                self._log.warning("a public key cannot be read", file=path, why=error.strerror)
                continue
            found = list(self._keys_of(path, content))
            if not found:
                self._log.warning("no Ed25519 public key (PEM) in this file", file=path)
            for key in found:
                yield key_id(key.public_bytes_raw()), key
            if len(found) == 1:
                yield os.path.splitext(os.path.basename(path))[0], found[0]

    def _keys_of(self, path: str, content: bytes) -> Iterator[Ed25519PublicKey]:
        for block in _PEM.findall(content):
            try:
                key = load_pem_public_key(block)
            except (ValueError, UnsupportedAlgorithm) as error:
                self._log.warning("a public key is damaged", file=path, why=error)
                continue
            if isinstance(key, Ed25519PublicKey):
                yield key


def _stamps(files: list[str]) -> Iterator[tuple[str, int, int, int]]:
    for path in files:
        try:
            told = os.stat(path)
        except OSError:
            continue
        yield path, told.st_ino, told.st_size, told.st_mtime_ns
