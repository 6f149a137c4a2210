"""``hold``, ``release``, ``taint`` and ``maintenance`` as a person runs them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.core.declared import parse_declared
from konduktor_health.timestamps import NS
from tests.support.controller import OUR_KEY, cli, eventually, steadily
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, otel

PREFIX = OUR_KEY.split("/", maxsplit=1)[0]
HOLD, MAINTENANCE, LEDGER = (f"{PREFIX}/{name}" for name in ("hold", "maintenance", "ledger"))
FOREIGN = {"key": "example.com/theirs", "effect": "NoExecute", "timeAdded": "2026-01-02T03:04:05Z"}
NO_GPU = "no GPU capacity, the node selector does not match, and nothing of ours on it"
Json = dict[str, Any]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    """gpu-a to gpu-d with something foreign on each; b and c are in one rack, and so is cpu-x."""
    with ExitStack() as stack:
        made = Embedded(stack, tmp_path, "gpu-a", "gpu-b", "gpu-c", "gpu-d", "cpu-x")
        for name in ("gpu-a", "gpu-b", "gpu-c", "gpu-d", "cpu-x"):
            made.api.store.edit("nodes", name, _occupied)
        made.api.requests.clear()
        yield made
        assert made.api.failures == []


def _occupied(node: Json) -> None:
    node["spec"]["taints"] = [dict(FOREIGN)]
    node["metadata"]["annotations"] = {"example.com/note": "theirs"}
    name = node["metadata"]["name"]
    if name in ("gpu-b", "gpu-c", "cpu-x"):
        node["metadata"]["labels"]["rack"] = "r1"
    if name == "cpu-x":
        node["metadata"]["labels"].pop("nvidia.com/gpu.present", None)
        node["status"]["capacity"].pop("nvidia.com/gpu", None)


def run(cluster: Embedded, *arguments: str) -> Any:
    return cli(*arguments, "--kubeconfig", str(cluster.kubeconfig))


def seen(cluster: Embedded, name: str) -> Json:
    """The Node without what any write changes."""
    (node,) = [n for n in cluster.api.store.list("nodes") if n["metadata"]["name"] == name]
    for key in ("resourceVersion", "managedFields"):
        node["metadata"].pop(key, None)
    return dict(node)


def annotation(cluster: Embedded, name: str, key: str) -> str | None:
    found = seen(cluster, name)["metadata"]["annotations"].get(key)
    return None if found is None else str(found)


def events(cluster: Embedded) -> list[tuple[str, str, str]]:
    found = cluster.api.store.list("events", namespace="default")
    return sorted((e["involvedObject"]["name"], e["reason"], e["message"]) for e in found)


# ---------------------------------------------------------------- hold, release


def test_a_hold_is_written_told_and_released(cluster: Embedded) -> None:
    before = seen(cluster, "gpu-a")
    done = run(cluster, "hold", "gpu-a", "--until", "2h", "--reason", "swap \x1b[31mcable")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gpu-a: held until 20")
    assert done.stdout.endswith("Z: swap  [31mcable\n")
    hold = parse_declared(annotation(cluster, "gpu-a", HOLD))
    assert hold is not None
    assert hold.until_ns is not None
    assert abs(hold.until_ns - hold.since_ns - 7200 * NS) < NS
    done = run(cluster, "release", "gpu-a")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gpu-a: ended the hold until ")
    assert seen(cluster, "gpu-a") == before
    assert [(node, reason) for node, reason, _ in events(cluster)] == [
        ("gpu-a", "Held"),
        ("gpu-a", "Released"),
    ]
    again = run(cluster, "release", "gpu-a")
    assert (again.returncode, again.stdout) == (
        0,
        "gpu-a: neither a hold nor an operator's record on it\n",
    )


def test_the_same_hold_twice_is_one_write(cluster: Embedded) -> None:
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    assert run(cluster, "hold", "gpu-a", "--until", soon).returncode == 0
    cluster.api.requests.clear()
    again = run(cluster, "hold", "gpu-a", "--until", soon)
    assert (again.returncode, again.stdout) == (0, "gpu-a: is held so already\n")
    assert cluster.api.requests.writes() == []


def test_a_dry_run_says_the_same_and_writes_nothing(cluster: Embedded) -> None:
    orders = (
        (("hold", "gpu-a", "--until", "1h"), "would have held until "),
        (
            ("taint", "gpu-a", "--reason", "fan"),
            f"would have tainted {OUR_KEY}=true:NoSchedule: fan",
        ),
        (("maintenance", "start", "gpu-a"), "would have started maintenance until it is ended"),
        (("release", "gpu-a"), "neither a hold nor"),
        (("maintenance", "end", "gpu-a"), "no maintenance is declared"),
    )
    for order, says in orders:
        done = run(cluster, *order, "--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"gpu-a: {says}")
    assert cluster.api.requests.writes() == []


def test_wrong_usage_ends_with_2_a_hint_and_no_call(cluster: Embedded) -> None:
    done = run(cluster, "hold", "gpu-a", "--until", "soon")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --until: neither a time nor a duration: 'soon'\nhint: ")
    assert cluster.api.requests.writes() == []


def test_a_name_that_is_no_node_ends_with_1_and_the_others_are_written(cluster: Embedded) -> None:
    done = run(cluster, "hold", "gpu-z", "gpu-b", "cpu-x", "--until", "1h")
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["gpu-b", "cpu-x"]
    assert done.stderr.splitlines() == [
        "gpu-z: no such node",
        f"cpu-x: the controller does nothing there: {NO_GPU}",
    ]


# ---------------------------------------------------------------- selectors


def test_a_selector_takes_managed_nodes_and_asks_before_it_writes_several(
    cluster: Embedded,
) -> None:
    order = ("maintenance", "start", "--selector", "rack in (r1, r2)", "--for", "4h")
    refused = run(cluster, *order)
    assert refused.returncode == 2
    assert "error: 2 nodes are taken, and there is no terminal to ask on\nhint: " in refused.stderr
    assert cluster.api.requests.writes() == []
    done = run(cluster, *order, "--yes")
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["gpu-b", "gpu-c"]
    assert done.stderr == "not managed, left out: 1 more that match rack in (r1, r2)\n"
    assert annotation(cluster, "gpu-c", MAINTENANCE) is not None
    assert annotation(cluster, "cpu-x", MAINTENANCE) is None
    ended = run(cluster, "maintenance", "end", "-l", "rack=r1", "--yes")
    assert ended.stdout.count(": ended maintenance until ") == 2


def test_a_selector_that_takes_one_node_does_not_ask_and_none_is_a_failure(
    cluster: Embedded,
) -> None:
    done = run(cluster, "hold", "-l", "kubernetes.io/hostname=gpu-d", "--until", "1h")
    assert done.returncode == 0, done.stderr
    done = run(cluster, "release", "-l", "rack=r9")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "no managed node matches rack=r9\n",
    )


@pytest.mark.parametrize(("answer", "code", "held"), [("n", 2, 0), ("y", 0, 2)])
def test_on_a_terminal_it_is_asked(cluster: Embedded, answer: str, code: int, held: int) -> None:
    ours, theirs = pty.openpty()
    command = ["hold", "-l", "rack=r1", "--until", "1h", "--kubeconfig", str(cluster.kubeconfig)]
    process = subprocess.Popen(
        [sys.executable, "-m", "konduktor_health", *command],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(ours, f"{answer}\n".encode())
    out, errors = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, out.count(": held until ")) == (code, held)
    assert "gpu-b, gpu-c\nHold these 2 nodes? [y/N]:" in errors


# ---------------------------------------------------------------- taint


def test_a_taint_is_record_taint_label_and_event_and_release_takes_it_back(
    cluster: Embedded,
) -> None:
    before = seen(cluster, "gpu-a")
    done = run(cluster, "taint", "gpu-a", "--reason", "fan rattles")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"gpu-a: tainted {OUR_KEY}=true:NoSchedule: fan rattles; "
        "a controller will show it in the condition\n"
    )
    node = seen(cluster, "gpu-a")
    assert node["spec"]["taints"][0] == FOREIGN
    assert [each["effect"] for each in node["spec"]["taints"][1:]] == ["NoSchedule"]
    assert node["metadata"]["labels"][f"{PREFIX}/health"] == "faulty"
    (record,) = json.loads(node["metadata"]["annotations"][LEDGER])["records"]
    assert (record["fault"], record["text"]) == ("operator/taint", "fan rattles")
    assert node["status"] == before["status"]
    cluster.api.requests.clear()
    again = run(cluster, "taint", "gpu-a", "--reason", "fan rattles")
    assert (again.returncode, again.stdout) == (0, "gpu-a: is tainted so already\n")
    assert cluster.api.requests.writes() == []
    assert run(cluster, "release", "gpu-a").returncode == 0
    assert seen(cluster, "gpu-a") == before
    assert [reason for _, reason, _ in events(cluster)] == ["Released", "TaintedByOperator"]


def test_the_budget_is_not_asked_and_told_when_it_is_exceeded(cluster: Embedded) -> None:
    done = run(cluster, "taint", "gpu-a", "--reason", "fan")
    assert done.stderr == ""
    done = run(cluster, "taint", "gpu-b", "gpu-a", "--reason", "fan", "--effect", "NoExecute")
    assert done.returncode == 0
    assert done.stderr == (
        "budget exceeded in pool default: 2 nodes are then tainted, 1 may be; "
        "the controller taints no other until there is room\n"
    )
    assert cluster.tainted() == ["gpu-a", "gpu-b"]
    effects = [each["effect"] for each in seen(cluster, "gpu-a")["spec"]["taints"]]
    assert effects == ["NoExecute", "NoExecute"]


def test_without_the_right_to_list_the_budget_is_not_known_and_it_taints(
    cluster: Embedded,
) -> None:
    cluster.api.deny["*"] = {("list", "nodes"), ("create", "events")}
    done = run(cluster, "taint", "gpu-a", "--reason", "fan")
    assert done.returncode == 0
    assert "whether the budget has room is not known: not allowed to list nodes" in done.stderr
    assert "Event not published: not allowed to create events" in done.stdout
    assert cluster.tainted() == ["gpu-a"]


def test_a_node_that_cannot_be_written_is_named_and_ends_with_1(cluster: Embedded) -> None:
    cluster.api.deny["*"] = {("patch", "nodes")}
    done = run(cluster, "hold", "gpu-a", "--until", "1h")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gpu-a: not held: not allowed to patch nodes")


def test_a_running_controller_and_the_operator_do_not_fight(cluster: Embedded) -> None:
    with cluster.controller() as controller:
        controller.leading()
        assert run(cluster, "taint", "gpu-a", "--reason", "fan rattles").returncode == 0

        def condition() -> Json:
            found = seen(cluster, "gpu-a")["status"]["conditions"]
            return next((each for each in found if each["type"] == "KonduktorHealthy"), {})

        eventually(lambda: condition().get("status") == "False", "the condition")
        assert "operator/taint on the node" in condition()["message"]
        settled = seen(cluster, "gpu-a")
        cluster.loki.push(STREAM, [otel("gpu-b")])  # another decision; the budget is spent
        eventually(
            lambda: seen(cluster, "gpu-b")["metadata"]["labels"].get(f"{PREFIX}/health"), "a record"
        )
        steadily(lambda: seen(cluster, "gpu-a") == settled, "the Node stays as it is", 1.0)
        assert cluster.tainted() == ["gpu-a"]
        assert run(cluster, "release", "gpu-a").returncode == 0
        eventually(lambda: condition().get("status") == "True", "the condition after the release")
        assert annotation(cluster, "gpu-a", LEDGER) is None
        eventually(lambda: cluster.tainted() == ["gpu-b"], "there is room again")
