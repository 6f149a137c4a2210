"""Whose signatures count, and how keys are exchanged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from probes.agent.keys import PublicKeys
from probes.report import key_id
from tests.support.agent import FakeClock, LogLines


def pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def name(key: Ed25519PrivateKey) -> str:
    return key_id(key.public_key().public_bytes_raw())


class Mount:
    """A mounted ConfigMap as the kubelet makes it: links, replaced all at once."""

    def __init__(self, path: Path) -> None:
        self.path, self.log, self.clock = path / "keys", LogLines(), FakeClock()
        self.path.mkdir()
        self._number = 0
        self.keys = PublicKeys(str(self.path), self.log, self.clock.monotonic)

    def publish(self, **files: bytes) -> None:
        self._number += 1
        version = self.path / f"..2026_{self._number}"
        version.mkdir()
        for key, content in files.items():
            (version / f"{key}.pem").write_bytes(content)
        link = self.path / "..data_tmp"
        link.symlink_to(version.name)
        os.replace(link, self.path / "..data")
        for old in self.path.glob("*.pem"):
            old.unlink()
        for key in files:
            (self.path / f"{key}.pem").symlink_to(f"..data/{key}.pem")
        self.clock.seconds += 2

    def accepts(self, key: Ed25519PrivateKey, known_as: str = "") -> bool:
        return self.keys.verifies(known_as or name(key), key.sign(b"text"), b"text")


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


def test_two_keys_are_good_during_a_rotation_and_the_old_one_ends_with_it(mount: Mount) -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    mount.publish(old=pem(old))
    assert (mount.accepts(old), mount.accepts(new)) == (True, False)
    mount.publish(old=pem(old), new=pem(new))
    assert (mount.accepts(old), mount.accepts(new)) == (True, True)
    mount.publish(new=pem(new))
    assert (mount.accepts(old), mount.accepts(new)) == (False, True)
    assert mount.keys.count() == 1


def test_a_key_is_known_by_its_fingerprint_and_by_its_file(mount: Mount) -> None:
    key = Ed25519PrivateKey.generate()
    mount.publish(current=pem(key))
    assert mount.accepts(key, "current")
    assert not mount.accepts(key, "other")
    assert mount.keys.count() == 1


def test_a_file_may_hold_several_keys(mount: Mount) -> None:
    one, two = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    mount.publish(both=pem(one) + b"\n# a comment\n" + pem(two))
    assert (mount.accepts(one), mount.accepts(two)) == (True, True)


def test_the_path_may_be_a_file(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(pem(key))
    keys = PublicKeys(str(tmp_path / "key.pem"), LogLines(), lambda: 0.0)
    assert keys.verifies(name(key), key.sign(b"x"), b"x")


def test_a_wrong_file_costs_itself_alone_and_is_told(mount: Mount) -> None:
    key = Ed25519PrivateKey.generate()
    curve = generate_private_key(SECP256R1()).public_key()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    mount.publish(
        good=pem(key),
        curve=curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        garbage=b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        binary=bytes(range(256)),
        empty=b"",
        private=private,
    )
    assert mount.accepts(key)
    assert mount.keys.count() == 1
    assert mount.log.warnings().count("no Ed25519 public key (PEM) in this file") == 5
    assert "a public key is damaged" in mount.log.warnings()


def test_without_keys_nothing_is_good(tmp_path: Path) -> None:
    keys = PublicKeys(str(tmp_path / "nowhere"), LogLines(), lambda: 0.0)
    assert keys.ids() == ()
    assert not keys.verifies("x", b"y" * 64, b"z")


def test_keys_are_gone_with_their_directory(mount: Mount, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    mount.publish(a=pem(key))
    assert mount.accepts(key)
    mount.path.rename(tmp_path / "away")
    mount.clock.seconds += 2
    assert not mount.accepts(key)
