"""The forwarder of a privileged container keeps one capability, and cannot get others back."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.privileges import CAP_SYSLOG, USER

_STATUS = "print(open('/proc/thread-self/status').read())"
_AFTERWARDS = f"""
import subprocess, sys
from probes.privileges import drop_privileges
{_STATUS}
drop_privileges()
{_STATUS}
sys.stdout.flush()
subprocess.run(["cat", "/proc/self/status"], check=True)  # another program gains nothing
"""
SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def statuses(text: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "Name":
            found.append({})
        if found:
            found[-1][key] = value.strip()
    return found


def test_only_syslog_is_kept_and_nothing_comes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AFTERWARDS], capture_output=True, text=True, timeout=30, check=True
    )
    before, after, child = statuses(done.stdout)
    syslog = int(before["CapPrm"], 16) & (1 << CAP_SYSLOG)  # none, when not run as root
    for status, kept in ((after, syslog), (child, 0)):
        found = {name: int(status[name], 16) for name in SETS}
        assert found == {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapAmb": 0}
        assert status["NoNewPrivs"] == "1"
    if int(before["CapEff"], 16) & (1 << 8):  # CAP_SETPCAP
        assert int(after["CapBnd"], 16) & ~(1 << CAP_SYSLOG) == 0


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory of root that others may enter; those above pytest's own are closed."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.mark.root
def test_root_becomes_a_user_that_owns_its_state_and_still_reads_the_kernel_log(
    reachable: Path,
) -> None:
    state = reachable / "kmsg" / "position.json"
    program = f"""
import os
from probes.privileges import drop_privileges
drop_privileges({str(state)!r})
print(os.getresuid(), os.getresgid(), os.getgroups())
open({str(state)!r}, "w").close()
os.close(os.open("/dev/kmsg", os.O_RDONLY))
for path in ("/dev/mem", {str(reachable / "other")!r}):
    try:
        os.open(path, os.O_RDWR | os.O_CREAT)
        print("opened", path)
    except OSError as error:
        print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    who, *others = done.stdout.splitlines()
    assert who == f"{(USER,) * 3} {(USER,) * 3} []"
    assert others == ["PermissionError", "PermissionError"]
    assert os.stat(state.parent).st_uid == os.stat(state).st_uid == USER


@pytest.mark.root
def test_an_empty_directory_of_root_is_taken_over(reachable: Path) -> None:
    """The kubelet makes it for a container that mounts it."""
    state = reachable / "position.json"
    program = f"from probes.privileges import drop_privileges; drop_privileges({str(state)!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert os.stat(reachable).st_uid == USER


@pytest.mark.root
def test_a_state_directory_of_root_with_something_in_it_is_named(reachable: Path) -> None:
    (reachable / "of-root").touch()
    state = reachable / "position.json"
    command = [sys.executable, "-m", "probes.cli", "kmsg", "--drop-privileges", "--once"]
    done = subprocess.run(
        [*command, f"--state={state}"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert str(reachable) in line
    assert str(USER) in line
