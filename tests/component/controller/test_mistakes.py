"""A user's mistake gives one clear message with a hint, and an exit code or a not-ready state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.controller import NAMESPACE, cli, eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, otel
from tests.support.processes import free_port


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Embedded]:
    with ExitStack() as stack:
        embedded = Embedded(stack, tmp_path, "gpu-a")
        embedded.loki.push(STREAM, [otel("gpu-a", "nvidia: loading")])
        yield embedded


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("loki: {ulr: http://x:1}", ["loki.ulr: no such setting", "hint: "]),
        ("policy: {budget_percent: 0}", ["policy.budget_percent", "greater than 0", "'0'"]),
        (
            "policy: {observe: [kernel/xfs-shutdwn]}",
            ["'kernel/xfs-shutdwn'", "did you mean kernel/xfs-sh"],
        ),
        ("loki: {url: nonsense}", ["loki.url", "'nonsense'"]),
        ("reading: [", ["not valid YAML"]),
        ("sources: [{preset: custom}]", ["no selector", "hint: "]),
        ("sources: [{preset: fluent}]", ["sources.0.preset", "'fluent'"]),
        ("lease: {duration_s: 1, renew_deadline_s: 5}", ["lease", "hint: "]),
    ],
)
def test_wrong_settings(tmp_path: Path, content: str, words: list[str]) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(content)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        "clusters: [{name: x, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {}}]\n"
    )
    done = cli("run", "--once", "--config", str(config), "--kubeconfig", str(kubeconfig))
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_environment_variable_is_refused() -> None:
    done = cli("run", "--once", environ={"KONDUKTOR_HEALTH_LOKIURL": "x"})
    assert done.returncode == 2
    assert "KONDUKTOR_HEALTH_LOKIURL: no such setting" in done.stderr


@pytest.mark.parametrize(
    "content", ["", "not: [yaml", "apiVersion: v1\nkind: Config\n", None], ids=repr
)
def test_bad_kubeconfig(tmp_path: Path, content: str | None) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    if content is not None:
        kubeconfig.write_text(content)
    done = cli("reset", "--all", "--kubeconfig", str(kubeconfig))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_api_server_that_does_not_answer(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        f"clusters: [{{name: x, cluster: {{server: 'http://127.0.0.1:{free_port()}'}}}}]\n"
        "contexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {}}]\n"
    )
    done = cli("reset", "--all", "--kubeconfig", str(kubeconfig))
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: ")


def test_unreachable_loki_is_not_ready_and_once_says_so(around: Embedded) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with around.controller(loki=nowhere) as controller:
        eventually(lambda: "not ready: source" in controller.readiness()[1], "says why", 30)
        assert "hint: " in controller.readiness()[1]
        assert controller.terminate()[0] == 0
    with around.controller("--once", loki=nowhere) as controller:
        assert controller.wait(60) == 3
        assert "hint: " in controller.tail()


def test_selector_that_matches_nothing_is_not_ready(around: Embedded) -> None:
    wrong = [{"preset": "custom", "selector": '{job="typo"}', "trust": "kernel"}]
    with around.controller(sources=wrong) as controller:
        eventually(lambda: "typo" in controller.readiness()[1], "names the selector", 30)
        status, text = controller.readiness()
        assert (status, "hint: " in text) == (503, True)


def test_two_clusters_in_one_selector_are_not_ready(around: Embedded) -> None:
    for cluster in ("one", "two"):
        around.loki.push({**STREAM, "cluster": cluster}, [otel("gpu-a", "nvidia: loading")])
    with around.controller() as controller:
        eventually(lambda: "cluster" in controller.readiness()[1], "says why", 30)
        assert controller.readiness()[0] == 503
    with around.controller(reading={"cluster": "one"}) as controller:
        controller.ready()


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("list", "nodes"), ("watch", "nodes"), ("create", "leases"), ("get", "configmaps")],
)
def test_missing_rbac_is_named(around: Embedded, verb: str, resource: str) -> None:
    around.api.deny["*"] = {(verb, resource)}
    with around.controller() as controller:
        wanted = f"not allowed to {verb} {resource}"
        eventually(lambda: wanted in controller.readiness()[1], "named", 30)
        assert controller.readiness()[0] == 503
        # who cannot work keeps no other replica from it (without a watch, lists are enough)
        if verb != "watch":
            assert around.api.store.list("leases", namespace=NAMESPACE) == []
        code, seconds = controller.terminate()
        assert (code, seconds < 3) == (0, True)


def test_right_to_read_the_stored_state_is_waited_for_and_once_refuses(around: Embedded) -> None:
    around.api.deny["*"] = {("get", "configmaps")}
    with around.controller("--once") as once:
        assert once.wait(30) == 4
        assert "not allowed to get configmaps konduktor-health-state" in once.tail()
    with around.controller() as controller:
        eventually(lambda: "stored state: not allowed" in controller.readiness()[1], "says why")
        assert "get configmaps" in controller.readiness()[1]
        around.api.deny.clear()
        controller.ready()


def test_missing_namespace_is_named(around: Embedded) -> None:
    with around.controller(cluster={"namespace": "nowhere"}) as controller:
        eventually(lambda: "nowhere" in controller.readiness()[1], "named", 30)


def test_environment_of_konduktors_controller_is_honoured(around: Embedded) -> None:
    environ = {
        "LOG_ENDPOINT": around.loki.url,
        "WATCHED_NAMESPACES": "a, b",
        "KONDUKTOR_DEBUG": "1",
    }
    done = cli(
        "run", "--once", "--dry-run", "--kubeconfig", str(around.kubeconfig), environ=environ
    )
    assert done.returncode == 0, done.stderr
    queries = {request.params.get("query", "") for request in around.loki.requests}
    assert any('k8s_namespace_name=~"a|b"' in query for query in queries), queries


def test_port_in_use_is_a_settings_mistake(around: Embedded) -> None:
    taken = int(around.loki.url.rsplit(":", 1)[1])
    done = cli(
        "run", "--http-port", str(taken), "--kubeconfig", str(around.kubeconfig),
        environ={"LOG_ENDPOINT": around.loki.url, "KONDUKTOR_HEALTH_HTTP__HOST": "127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot listen" in done.stderr


def test_usage_mistakes_exit_with_two() -> None:
    assert cli("reset").returncode == 2
    assert cli("scan", "--output", "xml").returncode == 2
    assert cli("inject").returncode == 2
    assert cli("nonsense").returncode == 2


def test_reset_stands_when_its_event_is_forbidden(around: Embedded) -> None:
    around.loki.push(STREAM, [otel("gpu-a")])
    with around.controller() as controller:
        eventually(lambda: around.tainted() == ["gpu-a"], "tainted")
        controller.terminate()
    around.api.deny["*"] = {("create", "events"), ("patch", "nodes/status")}
    done = cli("reset", "gpu-a", "--kubeconfig", str(around.kubeconfig))
    assert done.returncode == 0, done.stderr
    assert "removed taint" in done.stdout
    assert "condition not written" in done.stdout
    assert "Event not published" in done.stdout
    assert around.tainted() == []
