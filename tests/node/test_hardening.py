"""What the running containers may do, seen from inside."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.support.node.release import (
    ACCOUNT,
    NAMESPACE,
    PROBE_ACCOUNT,
    Release,
)

SYSLOG_ONLY = "0000000400000000"  # bit 34
NONE = "0000000000000000"
# Memory that the runtime gives every container; nothing of it outlives the container.
OF_THE_RUNTIME = {"/dev/shm", "/dev/mqueue", "/dev/pts"}
_WRITABLE = """
import json, os
found = []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys")]
    if os.access(folder, os.W_OK):
        found.append(folder)
print(json.dumps(found))
"""


def _status(text: str) -> dict[str, str]:
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }


def _writable(release: Release, pod: str, container: str) -> set[str]:
    python = "/opt/konduktor-health/bin/python"
    done = release.node.commands.in_pod(
        NAMESPACE, pod, python, "-I", "-c", _WRITABLE, container=container
    )
    return set(json.loads(done.stdout))


def _root_is_read_only(mounts: str) -> bool:
    return re.search(r"^\S+ / \S+ ro,", mounts, re.MULTILINE) is not None


@pytest.fixture
def controller(release: Release) -> str:
    return release.until_led()


def test_controller_has_no_privilege_at_all(release: Release, controller: str) -> None:
    status = _status(_read(release, controller, "controller", "/proc/1/status"))
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65532"}
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {NONE}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_controller_writes_nowhere_and_has_its_token(release: Release, controller: str) -> None:
    assert _root_is_read_only(_read(release, controller, "controller", "/proc/mounts"))
    assert _writable(release, controller, "controller") <= OF_THE_RUNTIME
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert _read(release, controller, "controller", token).count(".") == 2


def test_kmsg_process_is_not_root_and_keeps_one_capability(release: Release) -> None:
    probe = release.probe()
    status = _status(_read(release, probe, "kmsg", "/proc/1/status"))
    kept = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert set(kept.values()) <= {SYSLOG_ONLY, NONE}, kept
    assert kept["CapEff"] == SYSLOG_ONLY
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65532"}
    # A privileged container is unconfined whatever the pod says: docs/design/in-cluster.md.
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "0")


def test_kmsg_has_no_token_no_host_namespace_and_writes_its_state_only(release: Release) -> None:
    probe = release.probe()
    assert _root_is_read_only(_read(release, probe, "kmsg", "/proc/mounts"))
    assert not release.in_probe("ls", "/var/run/secrets", check=False).stdout
    for kind in ("net", "pid", "ipc", "uts"):
        inside = release.in_probe("readlink", f"/proc/1/ns/{kind}").stdout.strip()
        assert inside != os.readlink(f"/proc/self/ns/{kind}"), f"the host's {kind} namespace"
    state = str(release.state_directory)
    writable = _writable(release, probe, "kmsg")
    assert f"{state}/kmsg" in writable
    # The runtime gives a privileged container a folder of devices of its own.
    devices = {folder for folder in writable if folder == "/dev" or folder.startswith("/dev/")}
    assert writable - {f"{state}/kmsg"} - devices == set()


def test_probe_account_has_no_more_rights_than_anybody(release: Release) -> None:
    commands = release.node.commands

    def rights(account: str) -> list[str]:
        listed = commands.kubectl("auth", "can-i", "--list", "-n", NAMESPACE, f"--as={account}")
        return sorted(listed.stdout.splitlines())

    anybody = f"system:serviceaccount:{NAMESPACE}:nobody"
    assert rights(PROBE_ACCOUNT) == rights(anybody)
    assert rights(ACCOUNT) != rights(anybody)  # the comparison can tell
    assert not list(release.node.audit.calls(PROBE_ACCOUNT))


def _read(release: Release, pod: str, container: str, path: str) -> str:
    done = release.node.commands.in_pod(NAMESPACE, pod, "cat", path, container=container)
    return done.stdout
