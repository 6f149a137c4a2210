"""Fixtures of the agent's component tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import AgentWorld, Client


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AgentWorld]:
    """A node with an agent."""
    made = AgentWorld(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(world: AgentWorld) -> Iterator[Client]:
    """Asks its HTTP server."""
    with world.serving() as asking:
        yield asking
