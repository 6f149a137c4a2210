"""With which key are requests to agents signed, and which do agents hold? Ed25519, two at most.

The private keys are in a Secret that controllers of all shards share, the public ones in a
ConfigMap that agents mount. A rotation is a matter of time alone, so that any replica goes on with
it: a new key is published at once, signs once agents have had ``settle_s`` to read it, and the one
before it goes after the same time again.

Invariants:
- A key signs only while it is published, and stays so while what it signed may be on its way.
- Both objects are written with compare-and-swap, and only when they are not as they should be. A
  Secret that cannot be read is left alone: somebody has to look at it.
- A private key is in no message, no log and no exception.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from konduktor_health.timestamps import NS
from probes.report import key_id

#: Agents see a changed ConfigMap after a minute or two (the kubelet's sync and cache).
SETTLE_S = 3600.0
DATA = "keys.json"
_SEED_BYTES = 32  # RFC 8032
_MOST = 2


class DamagedKeysError(ValueError):
    """The Secret's content is no list of keys."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key pair. ``created_ns``: Unix ns."""

    private: Ed25519PrivateKey = field(repr=False)
    created_ns: int

    @property
    def name(self) -> str:
        """What agents call it (``probes.report.key_id``)."""
        return key_id(self.private.public_key().public_bytes_raw())

    def public_pem(self) -> str:
        """What agents hold."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def signature(self, data: bytes) -> str:
        """The value of the signature header for these bytes."""
        return f"{self.name}:{base64.b64encode(self.private.sign(data)).decode()}"


def rotated(
    keys: tuple[Key, ...], now_ns: int, *, rotate_s: float, settle_s: float = SETTLE_S
) -> tuple[Key, ...]:
    """The keys as they should be now, oldest first. ``rotate_s`` 0: a key is never replaced."""
    if not keys:
        return (Key(Ed25519PrivateKey.generate(), now_ns),)
    newest_s = _age_s(keys[-1], now_ns)
    if len(keys) > 1 and newest_s >= 2 * settle_s:
        return keys[-1:]
    if len(keys) == 1 and rotate_s and newest_s >= rotate_s:
        return (*keys, Key(Ed25519PrivateKey.generate(), now_ns))
    return keys[-_MOST:]


def signer_of(keys: tuple[Key, ...], now_ns: int, *, settle_s: float = SETTLE_S) -> Key:
    """The key that signs: the newest that agents have had time to read, else the oldest."""
    settled = [key for key in keys if _age_s(key, now_ns) >= settle_s]
    return settled[-1] if settled else keys[0]


def published(keys: tuple[Key, ...]) -> Mapping[str, str]:
    """Data of the ConfigMap."""
    return {f"{key.name}.pem": key.public_pem() for key in keys}


def as_secret(keys: tuple[Key, ...]) -> Mapping[str, str]:
    """Data of the Secret, as Kubernetes wants it (base64)."""
    content = {
        "version": 1,
        "keys": [
            {
                "created_ns": key.created_ns,
                "seed": base64.b64encode(key.private.private_bytes_raw()).decode(),
            }
            for key in keys
        ],
    }
    return {DATA: base64.b64encode(json.dumps(content).encode()).decode()}


def from_secret(data: object) -> tuple[Key, ...]:
    """The keys of a Secret, oldest first. Raises DamagedKeysError, which quotes nothing of it."""
    try:
        return _keys(data)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, binascii.Error):
        raise DamagedKeysError(f"its {DATA} is no list of keys") from None


def _keys(data: Any) -> tuple[Key, ...]:
    content = json.loads(base64.b64decode(data[DATA], validate=True))
    if content["version"] != 1:
        raise ValueError
    keys = []
    for each in content["keys"]:
        seed = base64.b64decode(each["seed"], validate=True)
        if len(seed) != _SEED_BYTES or not isinstance(each["created_ns"], int):
            raise ValueError
        keys.append(Key(Ed25519PrivateKey.from_private_bytes(seed), each["created_ns"]))
    if not keys:
        raise ValueError
    return tuple(sorted(keys, key=lambda key: key.created_ns))


def _age_s(key: Key, now_ns: int) -> float:
    return max(0.0, (now_ns - key.created_ns) / NS)
