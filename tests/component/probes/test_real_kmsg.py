"""The forwarder on this machine's own kernel log: it is shared, so every line has a nonce."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.cli.inject import node_command, write_local
from tests.support.push_server import PushServer

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.access("/dev/kmsg", os.R_OK | os.W_OK),
        reason="needs root and a readable and writable /dev/kmsg",
    ),
]


class Forwarder:
    """A running ``konduktor-probe kmsg``."""

    def __init__(self, *arguments: str) -> None:
        environ = {
            k: v for k, v in os.environ.items() if k not in ("LOG_ENDPOINT", "LOKI_PUSH_URL")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "probes.cli", "kmsg", "--node", "node-a", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
        )
        self._pending = b""

    def line_where(
        self, wanted: Callable[[dict[str, Any]], bool], seconds: float
    ) -> dict[str, Any]:
        """The next line that is wanted; fails after ``seconds``."""
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while True:
            while b"\n" in self._pending:
                raw, self._pending = self._pending.split(b"\n", 1)
                line: dict[str, Any] = json.loads(raw)
                if wanted(line):
                    return line
            left = end - time.monotonic()
            assert left > 0, "the line did not come in time"
            if select.select([self.process.stdout], [], [], left)[0]:
                self._pending += os.read(self.process.stdout.fileno(), 65536)

    def wait_until_it_follows(self) -> None:
        self.line_where(lambda line: line["kind"] == "heartbeat", 10)

    def terminate(self) -> tuple[int, float]:
        """Exit code, and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10), time.monotonic() - began

    def rss_kib(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")


@contextmanager
def forwarding(*arguments: str) -> Iterator[Forwarder]:
    forwarder = Forwarder(*arguments)
    try:
        yield forwarder
    finally:
        if forwarder.process.poll() is None:
            forwarder.process.kill()
        forwarder.process.wait(10)
        assert forwarder.process.stdout is not None
        forwarder.process.stdout.close()


def nonce(what: str) -> str:
    return f"konduktor test {uuid.uuid4().hex} {what}"


def test_a_line_in_the_kernel_log_is_printed_at_once_and_sigterm_ends_it() -> None:
    text = nonce("NVRM: Xid (PCI:0000:3b:00): 79, é \\ end")
    with forwarding() as forwarder:
        forwarder.wait_until_it_follows()
        write_local(text)
        line = forwarder.line_where(lambda line: line["text"] == text, 2.0)
        rss = forwarder.rss_kib()
        code, seconds = forwarder.terminate()

    assert (line["facility"], line["priority"], line["kind"]) == (1, 4, "record")
    assert line["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace(
        "-", ""
    )
    assert code == 0
    assert seconds < 1.0
    print(f"VmRSS {rss / 1024:.1f} MiB")
    assert rss <= 45 * 1024


def test_the_command_for_a_node_writes_hostile_text_as_it_is() -> None:
    text = nonce("'; $(exit 3) `exit 3` \" %s %d $1 \\n \\c")
    with forwarding() as forwarder:
        forwarder.wait_until_it_follows()
        subprocess.run(node_command(text).argv, check=True, timeout=10)
        line = forwarder.line_where(lambda line: line["text"] == text, 2.0)

    assert line["facility"] == 1


def test_nothing_is_lost_while_loki_and_the_forwarder_restart(tmp_path: Path) -> None:
    texts = [nonce(str(number)) for number in range(4)]

    def arrived(server: PushServer, text: str) -> bool:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if any(json.loads(line)["text"] == text for line in server.lines()):
                return True
            server.wait_for_lines(len(server.lines()) + 1, 0.2)
        return False

    with PushServer() as first:
        arguments = ["--state", str(tmp_path / "state.json"), "--push", first.url]
        with forwarding(*arguments) as forwarder:
            forwarder.wait_until_it_follows()
            write_local(texts[0])
            assert arrived(first, texts[0])
            rss = forwarder.rss_kib()
            first.close()
            write_local(texts[1])
            forwarder.line_where(lambda line: line["text"] == texts[1], 2.0)
            code, seconds = forwarder.terminate()
        assert code == 0
        assert seconds < 3.5
    write_local(texts[2])

    with PushServer(port=first.port) as second, forwarding(*arguments) as forwarder:
        forwarder.wait_until_it_follows()
        write_local(texts[3])
        assert arrived(second, texts[3])
        got = [json.loads(line)["text"] for line in second.lines()]
        assert [text for text in got if text in texts] == texts[1:]
        assert forwarder.terminate()[0] == 0
    print(f"VmRSS with push {rss / 1024:.1f} MiB")
    assert rss <= 45 * 1024


def test_once_ends_by_itself() -> None:
    text = nonce("once")
    write_local(text)
    with forwarding("--once") as forwarder:
        forwarder.line_where(lambda line: line["text"] == text, 10)
        assert forwarder.process.wait(10) == 0
