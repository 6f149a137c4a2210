from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.gpus import Node


@pytest.fixture
def make_node() -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def make(model: str = "H100", count: int = 8) -> Node:
        made.append(Node(model, count))
        return made[-1]

    yield make
    for node in made:
        node.close()


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node()
