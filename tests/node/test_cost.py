"""What the pods cost on a node where nothing happens."""

from __future__ import annotations

import os
import re
import time

from tests.support.node.release import NAMESPACE, Release

IDLE_S = 10.0  # how long the processor's time is counted


def test_idle_pods_stay_small(release: Release, measured: dict[str, float]) -> None:
    pods = {"controller": release.until_led(), "kmsg": release.probe()}
    before = {container: _cpu_s(release, pod, container) for container, pod in pods.items()}
    began = time.monotonic()
    time.sleep(IDLE_S)  # noqa: TID251 - the pods idle
    for container, pod in pods.items():
        used = _cpu_s(release, pod, container) - before[container]
        measured[f"CPU of {container}, percent of a core"] = 100 * used / (time.monotonic() - began)
        measured[f"VmRSS of {container}, MiB"] = _resident_mib(release, pod, container)
    assert measured["VmRSS of controller, MiB"] <= 120
    assert measured["VmRSS of kmsg, MiB"] <= 45
    assert measured["CPU of controller, percent of a core"] <= 20
    assert measured["CPU of kmsg, percent of a core"] <= 5


def _read(release: Release, pod: str, container: str, path: str) -> str:
    done = release.node.commands.in_pod(NAMESPACE, pod, "cat", path, container=container)
    return done.stdout


def _cpu_s(release: Release, pod: str, container: str) -> float:
    """Seconds of user and system time of process 1 (proc(5): fields 14 and 15)."""
    fields = _read(release, pod, container, "/proc/1/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(release: Release, pod: str, container: str) -> float:
    status = _read(release, pod, container, "/proc/1/status")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024
