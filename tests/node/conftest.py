"""Which cluster do the tests on a real node share, and what do they measure?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.node.cluster import RealNode
from tests.support.node.release import Release
from tests.support.servers import Loki

BUILD = Path(__file__).parents[2] / "build"
IMAGES = BUILD / "images"
MEASURED = pytest.StashKey[dict[str, float]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEASURED] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(300))  # pods start slowly on a busy machine


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> dict[str, float]:
    """Figures by name; shown at the end and written to build/e2e-node.json."""
    return pytestconfig.stash[MEASURED]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash.get(MEASURED, {})
    if not figures:
        return
    terminalreporter.section("measured on the real node")
    for name, value in figures.items():
        terminalreporter.line(f"{name}: {value:.2f}")
    target = BUILD / "e2e-node.json"
    target.parent.mkdir(exist_ok=True)
    rounded = {name: round(value, 3) for name, value in figures.items()}
    target.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def images() -> list[dict[str, Any]]:
    """What deploy/docker/build.py wrote about both images."""
    text = (IMAGES / "images.json").read_text(encoding="utf-8")
    return list(json.loads(text)["images"])


@pytest.fixture(scope="session")
def node(images: list[dict[str, Any]], measured: dict[str, float]) -> Iterator[RealNode]:
    """The cluster, for all tests of this folder."""
    node = RealNode(archives=[IMAGES / image["file"] for image in images])
    try:
        node.start()
        measured["seconds from nothing to a Ready node with images"] = node.started_in_s
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="session")
def node_loki(node: RealNode) -> Iterator[Loki]:
    """A Loki beside the pods, which they reach."""
    loki = Loki(node.folder / "loki", listen="0.0.0.0")
    try:
        loki.start()
        yield loki
    finally:
        loki.kill()  # nothing of it is needed any more, and a clean end takes 20 s


@pytest.fixture(scope="session")
def the_release(node: RealNode, node_loki: Loki, images: list[dict[str, Any]]) -> Release:
    repositories = [str(image["name"]).rpartition(":")[0] for image in images]
    return Release(node, node_loki, {name.rpartition("/")[2]: name for name in repositories})


@pytest.fixture
def release(the_release: Release) -> Release:
    """The chart, installed as it is for a cluster without a shipper, on a Node that is well."""
    the_release.ensure()
    return the_release
