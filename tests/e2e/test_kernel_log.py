"""The whole path with a real kernel log: /dev/kmsg, our forwarder, Loki, the taint."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Stage
from tests.support.controller import eventually
from tests.support.loglines import ago
from tests.support.servers import Loki, RealKube


@pytest.mark.root
def test_line_in_dev_kmsg_taints_the_kwok_node(
    kwok_kube: RealKube, stage: Stage, real_loki: Loki
) -> None:
    name = f"host-{secrets.token_hex(4)}"
    kwok_kube.create_node(name, kwok=True)
    kwok_kube.wait_ready([name])
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kwok_kube.set_boot_id(name, boot_id)
    selector = f'{{job="konduktor-kmsg",node="{name}"}}'
    stage.controller(
        sources=[{"preset": "kmsg", "selector": selector, "trust": "kernel"}],
        reading={"cluster": "", "poll_interval_s": 0.3},
    )
    command = [sys.executable, "-m", "probes.cli", "kmsg", "--push", real_loki.url]
    command += ["--node", name, "--state", str(stage.folder / "position.json")]
    forwarder = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        eventually(
            lambda: (
                real_loki.query(f'{{node="{name}"}}', ago(60), ago(-60))
                or forwarder.poll() is not None
            ),
            "the forwarder's first heartbeat",
            timeout_s=15,
        )
        bus = secrets.token_hex(1)
        line = f"NVRM: Xid (PCI:0000:{bus}:00): 79, pid=1, name=x, GPU has fallen off the bus."
        Path("/dev/kmsg").write_text(f"<4>{line}\n")
        stage.until_tainted(name)
        ledger = stage.annotation(name, "ledger") or ""
        assert f"0000:{bus}:00" in ledger
        assert '"injected":true' in ledger  # a program cannot write facility 0
    finally:
        forwarder.terminate()
        assert forwarder.wait(10) == 0
