"""The forwarder of a privileged container keeps one capability, and cannot get others back."""

from __future__ import annotations

import subprocess
import sys

from probes.privileges import CAP_SYSLOG

_STATUS = "print(open('/proc/thread-self/status').read())"
_AFTERWARDS = f"""
import subprocess, sys
from probes.privileges import keep_only_syslog
{_STATUS}
keep_only_syslog()
{_STATUS}
sys.stdout.flush()
subprocess.run([sys.executable, "-c", "{_STATUS}"], check=True)  # another program gains nothing
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
    for status in (after, child):
        kept = {name: int(status[name], 16) for name in SETS}
        assert kept == {"CapInh": 0, "CapPrm": syslog, "CapEff": syslog, "CapAmb": 0}
        assert status["NoNewPrivs"] == "1"
    if int(before["CapEff"], 16) & (1 << 8):  # CAP_SETPCAP
        assert int(after["CapBnd"], 16) & ~(1 << CAP_SYSLOG) == 0
