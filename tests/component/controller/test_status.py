"""``status`` and ``explain NODE`` as a person runs them, against the embedded API server."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.core.ledger import Ledger, render
from konduktor_health.runtime.checkpoint import short_hash
from konduktor_health.timestamps import NS
from tests.support.controller import NAMESPACE, OUR_KEY, cli, eventually
from tests.support.embedded import Embedded
from tests.support.ledgers import record
from tests.support.processes import free_port

PREFIX = OUR_KEY.split("/", maxsplit=1)[0]
HOSTILE = "NVRM: \x1b[31m[bold]red\u202e\nnext: 79"
Json = dict[str, Any]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    """gpu-a is tainted by us, gpu-b by hand, gpu-c has a damaged ledger, gpu-d is healthy."""
    with ExitStack() as stack:
        made = Embedded(stack, tmp_path, "gpu-a", "gpu-b", "gpu-c", "gpu-d")
        made.api.store.edit("nodes", "gpu-a", _tainted)
        made.api.store.edit("nodes", "gpu-b", _by_hand)
        made.api.store.edit("nodes", "gpu-c", _damaged)
        made.api.requests.clear()
        yield made
        assert made.api.requests.writes() == []
        assert made.api.failures == []


def _tainted(node: Json) -> None:
    now = time.time_ns()
    boot = node["status"]["nodeInfo"]["bootID"].replace("-", "")
    seen = record(first_ns=now - 7200 * NS, last_ns=now, boot_id=boot, text=HOSTILE)
    ledger = Ledger(
        uid=node["metadata"]["uid"],
        boot_id=boot,
        written_ns=now,
        owned=("NoSchedule",),
        tainted_ns=now - 7200 * NS,
        records=(seen,),
    )
    node["metadata"].setdefault("annotations", {})[f"{PREFIX}/ledger"] = render(ledger)
    node["metadata"]["labels"][f"{PREFIX}/health"] = "faulty"
    node["spec"]["taints"] = [
        {"key": OUR_KEY, "value": "true", "effect": "NoSchedule"},
        {"key": "example.com/theirs", "effect": "NoExecute"},
    ]
    told = {"status": "False", "reason": "FatalFault", "message": f"tainted for {HOSTILE}"}
    node["status"]["conditions"].append({"type": "KonduktorHealthy", **told})


def _by_hand(node: Json) -> None:
    node["spec"]["taints"] = [{"key": OUR_KEY, "effect": "PreferNoSchedule"}]


def _damaged(node: Json) -> None:
    node["metadata"].setdefault("annotations", {})[f"{PREFIX}/ledger"] = "{\x1b]0;x\x07"


def run(cluster: Embedded, *arguments: str) -> Any:
    return cli(*arguments, "--kubeconfig", str(cluster.kubeconfig))


def plain(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_status_shows_the_worst_first_and_the_sums(cluster: Embedded) -> None:
    done = run(cluster, "status")
    assert (done.returncode, done.stderr) == (0, "")
    heading, a, c, b, sums = done.stdout.splitlines()
    assert heading.split()[:3] == ["NODE", "VERDICT", "TAINT"]
    assert a.split()[:8] == ["gpu-a", "faulty", "NoSchedule", "xid/79", "0000:3b:00", "fatal",
                             "2h", "1"]  # fmt: skip
    assert c.startswith("gpu-c  suspect  - ")
    assert c.endswith("LedgerCorrupt: the ledger annotation cannot be read")
    assert b.startswith("gpu-b  suspect  PreferNoSchedule (adopted)")
    assert sums.startswith("4 managed (1 faulty, 2 suspect, 1 healthy); 2 tainted (1 adopted) of 1")
    assert "gpu-d" not in done.stdout


def test_status_as_json_and_wide_print_hostile_text_safely(cluster: Embedded) -> None:
    told = json.loads(run(cluster, "status", "--all", "--output", "json").stdout)
    assert [each["node"] for each in told["nodes"]] == ["gpu-a", "gpu-c", "gpu-b", "gpu-d"]
    assert told["summary"]["allowed"] == 1
    text = told["nodes"][0]["records"][0]["text"]
    assert text == "NVRM:  [31m[bold]red next: 79"
    wide = run(cluster, "status", "-o", "wide").stdout
    assert text in wide
    assert plain(wide)


def test_who_is_on_hold_or_in_maintenance_is_shown_with_until_when_and_why(
    cluster: Embedded,
) -> None:
    def declare(node: Json) -> None:
        hold = {"until": "2999-01-02T03:04:05Z", "reason": "swap \x1b[31mcable"}
        node["metadata"]["annotations"] = {
            f"{PREFIX}/hold": json.dumps(hold),
            f"{PREFIX}/maintenance": "2020-01-02T03:04:05Z",
        }

    cluster.api.store.edit("nodes", "gpu-d", declare)
    done = run(cluster, "status")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("gpu-d")]
    assert row.endswith("HeldByOperator: until 2999-01-02T03:04:05Z: swap  [31mcable")
    assert "; 1 on hold; " in done.stdout.splitlines()[-1]
    assert "in maintenance" not in done.stdout
    told = run(cluster, "explain", "gpu-d").stdout
    assert "hold            until 2999-01-02T03:04:05Z: swap  [31mcable\n" in told
    assert "maintenance     not in force: until 2020-01-02T03:04:05Z\n" in told
    assert plain(done.stdout + told)


def test_surges_are_told_where_the_state_may_be_read(cluster: Embedded) -> None:
    surge = {"since": 1_800_000_000 * NS, "last": 1, "scope": "pool a", "released": False}
    data = {"v": "1", "surges": json.dumps({"xid/74\x1b": surge, "xid/79": "damaged"})}
    state = {"metadata": {"name": "konduktor-health-state"}, "data": data}
    cluster.api.store.create("configmaps", state, namespace=NAMESPACE)
    sums = run(cluster, "status").stdout.splitlines()[-1]
    assert sums.endswith("; surge of xid/74 in pool a since 2027-01-15T08:00:00Z, held")
    (told,) = json.loads(run(cluster, "status", "-o", "json").stdout)["surges"]
    assert (told["fault_id"], told["released"]) == ("xid/74", False)
    elsewhere = run(cluster, "status", "--namespace", "other", "-o", "json")
    assert json.loads(elsewhere.stdout)["surges"] is None
    cluster.api.deny["*"] = {("get", "configmaps")}
    silent = run(cluster, "status")
    assert (silent.returncode, silent.stderr) == (0, "")
    assert "surge" not in silent.stdout


def test_a_node_that_only_the_state_remembers_is_managed(cluster: Embedded) -> None:
    def no_gpus(node: Json) -> None:
        node["status"]["capacity"] = node["status"]["allocatable"] = {}
        node["metadata"]["labels"] = {}

    cluster.api.store.edit("nodes", "gpu-d", no_gpus)
    assert "3 managed" in run(cluster, "status").stdout
    assert "managed         no: no GPU capacity, " in run(cluster, "explain", "gpu-d").stdout
    (view,) = [n for n in cluster.api.store.list("nodes") if n["metadata"]["name"] == "gpu-d"]
    data = {"v": "1", "managed": json.dumps([short_hash(view["metadata"]["uid"])])}
    state = {"metadata": {"name": "konduktor-health-state"}, "data": data}
    cluster.api.store.create("configmaps", state, namespace=NAMESPACE)
    assert "4 managed" in run(cluster, "status").stdout
    assert "managed         yes" in run(cluster, "explain", "gpu-d").stdout
    cluster.api.deny["*"] = {("get", "configmaps")}
    silent = run(cluster, "explain", "gpu-d")
    assert (silent.returncode, silent.stderr) == (0, "")


def test_the_budget_is_that_of_the_settings_given(cluster: Embedded, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("policy: {budget_percent: 75, observe: [site/not-shipped]}")
    done = run(cluster, "status", "--config", str(settings))
    assert "2 tainted (1 adopted) of 3 allowed; 1 unreadable ledger\n" in done.stdout


def test_a_name_that_is_no_managed_node_ends_with_1_and_the_others_are_shown(
    cluster: Embedded,
) -> None:
    def opt_out(node: Json) -> None:
        node["metadata"]["labels"][f"{PREFIX}/managed"] = "false"

    cluster.api.store.edit("nodes", "gpu-b", opt_out)
    done = run(cluster, "status", "gpu-d", "gpu-b", "gpu-z")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith("gpu-d  healthy")
    assert done.stderr.splitlines() == [
        f"gpu-b: not managed: label {PREFIX}/managed=false opts it out",
        "gpu-z: no such node",
    ]


def test_explain_tells_the_whole_story_of_a_tainted_node(cluster: Embedded) -> None:
    done = run(cluster, "explain", "gpu-a")
    assert (done.returncode, done.stderr) == (0, "")
    assert plain(done.stdout)
    for words in (
        "gpu-a  faulty\n",
        f"{OUR_KEY}=true:NoSchedule, ours, since ",
        "other taint     example.com/theirs:NoExecute, not ours: never touched\n",
        "condition       False FatalFault: tainted for NVRM:",
        "\nxid/79  on 0000:3b:00\nmeaning         GPU no longer answers on PCIe",
        "evidence        NVRM:  [31m[bold]red next: 79\n",
        "do              reboot the node",
        "boot            the present one\n",
        "then says so: konduktor-health reset gpu-a\n",
    ):
        assert words in done.stdout, words


def test_explain_as_json_has_the_form_of_status_and_what_the_catalog_knows(
    cluster: Embedded,
) -> None:
    told = json.loads(run(cluster, "explain", "gpu-a", "--output", "json").stdout)
    (known,) = [each.pop("known") for each in told["records"]]
    assert known["meaning"].startswith("GPU no longer answers")
    assert told.pop("measured") is None  # the agent was not asked
    status = json.loads(run(cluster, "status", "-o", "json").stdout)
    assert told == status["nodes"][0]


def test_explain_of_an_adopted_taint_and_of_a_damaged_ledger(cluster: Embedded) -> None:
    adopted = run(cluster, "explain", "gpu-b")
    assert adopted.returncode == 0
    assert "PreferNoSchedule, adopted: no ledger says that we set it" in adopted.stdout
    damaged = run(cluster, "explain", "gpu-c")
    assert damaged.returncode == 0
    assert "held            LedgerCorrupt: " in damaged.stdout
    assert "ledger          cannot be read: ledger: " in damaged.stdout
    assert plain(damaged.stdout)


@pytest.mark.parametrize("name", ["gpu-z", "..", "no such", "\x1b[31m"])
def test_explain_of_an_unknown_node_ends_with_1(cluster: Embedded, name: str) -> None:
    done = run(cluster, "explain", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such node\nhint: " in done.stderr
    assert plain(done.stderr)


@pytest.mark.parametrize("arguments", [("status",), ("status", "--watch"), ("explain", "gpu-a")])
def test_an_api_server_that_does_not_answer_ends_with_3(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        f"clusters: [{{name: x, cluster: {{server: 'http://127.0.0.1:{free_port()}'}}}}]\n"
        "contexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {}}]\n"
    )
    done = cli(*arguments, "--kubeconfig", str(kubeconfig))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "verb"), [(("status",), "list"), (("explain", "gpu-a"), "get")]
)
def test_a_missing_right_is_named(cluster: Embedded, arguments: tuple[str, ...], verb: str) -> None:
    cluster.api.deny["*"] = {(verb, "nodes")}
    done = run(cluster, *arguments)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"error: not allowed to {verb} nodes" in done.stderr
    assert f"kubectl auth can-i {verb} nodes" in done.stderr


def test_names_and_all_together_are_wrong_usage(cluster: Embedded) -> None:
    done = run(cluster, "status", "--all", "gpu-a")
    assert done.returncode == 2
    assert done.stderr.startswith("error: name nodes, or say --all\nhint: ")


# ---------------------------------------------------------------- --watch


class Watching:
    """``status --watch`` as a process; its output is collected, in a pipe or on a terminal."""

    def __init__(self, cluster: Embedded, *arguments: str, terminal: bool = False) -> None:
        ours, theirs = pty.openpty() if terminal else os.pipe()
        command = [sys.executable, "-m", "konduktor_health", "status", "--watch", "--every", "0.2"]
        self.process = subprocess.Popen(
            [*command, *arguments, "--kubeconfig", str(cluster.kubeconfig)],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "20"},
        )
        os.close(theirs)
        self.output = ""
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()

    def _read(self, source: int) -> None:
        with open(source, "rb", buffering=0) as stream:
            while chunk := _chunk(stream.read):
                self.output += chunk.decode("utf-8", "replace")

    def says(self, words: str) -> None:
        eventually(lambda: words in self.output, lambda: f"{words!r} in {self.output!r}")

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Ctrl-C, or another signal; the exit code and what stands on stderr."""
        self.process.send_signal(number)
        errors = self.process.communicate(timeout=20)[1].decode()
        self._reader.join(20)
        return self.process.returncode, errors


def _chunk(read: Callable[[int], bytes]) -> bytes:
    try:
        return read(4096)
    except OSError:  # the other end of a terminal is gone
        return b""


@pytest.fixture
def watching(cluster: Embedded) -> Iterator[Callable[..., Watching]]:
    made: list[Watching] = []

    def start(*arguments: str, terminal: bool = False) -> Watching:
        made.append(Watching(cluster, *arguments, terminal=terminal))
        return made[-1]

    yield start
    for each in made:
        each.process.kill()
        each.process.communicate()


def test_watching_in_a_pipe_appends_what_is_new_and_ends_cleanly(
    cluster: Embedded, watching: Callable[..., Watching]
) -> None:
    watch = watching()
    watch.says("4 managed (1 faulty, 2 suspect, 1 healthy)")
    assert len(watch.output.splitlines()) == 4
    cluster.api.store.edit("nodes", "gpu-d", _by_hand)
    watch.says("4 managed (1 faulty, 3 suspect)")
    cluster.api.faults.answer(503, path=r"/nodes", times=3)
    cluster.api.store.edit("nodes", "gpu-d", lambda node: node["spec"].pop("taints"))
    watch.says("gpu-d  healthy")
    code, errors = watch.interrupt()
    assert code == 0
    assert "Traceback" not in errors
    assert watch.output.count("gpu-a") == 1
    assert plain(watch.output)


def test_watching_as_json_gives_an_object_a_line(
    cluster: Embedded, watching: Callable[..., Watching]
) -> None:
    watch = watching("--output", "json")
    watch.says("\n")
    cluster.api.store.edit("nodes", "gpu-d", _by_hand)
    eventually(lambda: watch.output.count("\n") == 2, "another line")
    assert watch.interrupt() == (0, "")
    counts = [len(json.loads(line)["nodes"]) for line in watch.output.splitlines()]
    assert counts == [3, 4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_on_a_terminal_repaints_and_gives_the_screen_back(
    cluster: Embedded, watching: Callable[..., Watching], number: signal.Signals
) -> None:
    watch = watching(terminal=True)
    watch.says("gpu-a")
    cluster.api.store.edit("nodes", "gpu-d", _by_hand)
    watch.says("gpu-d")
    assert watch.interrupt(number) == (0, "")
    assert watch.output.count("gpu-a") > 1
    assert "\x1b[?1049h" in watch.output
    assert watch.output.rindex("\x1b[?1049l") > watch.output.rindex("gpu-d")
    assert watch.output.rindex("\x1b[?25h") > watch.output.rindex("\x1b[?25l")  # the cursor
    assert "\x1b[31m[bold]" not in watch.output
