"""Fixtures of the agent's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import AgentWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AgentWorld]:
    """A node with an agent."""
    made = AgentWorld(tmp_path)
    yield made
    made.close()
