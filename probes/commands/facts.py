"""What has the controller told the agent of the node? Read from the agent's file, in a Job."""

from __future__ import annotations

from pydantic import ValidationError

from probes.check import NodeFacts
from probes.report import MOST_BODY_BYTES, NodeSettings


class FactsError(Exception):
    """The file cannot be used."""


def read_facts(path: str, node: str) -> NodeFacts:
    """The facts of ``probes.report.NodeSettings`` in a file. Raises FactsError, also for another
    node's."""
    try:
        with open(path, "rb") as file:
            settings = NodeSettings.model_validate_json(file.read(MOST_BODY_BYTES))
    except OSError as error:
        raise FactsError(f"--settings {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise FactsError(f"--settings {path}: {where}: {first['msg']}") from error
    if settings.node != node:
        raise FactsError(f"--settings {path}: of node {settings.node}, and this is {node}")
    return NodeFacts(
        name=node,
        labels=settings.labels,
        expected_gpus=settings.expected_gpus,
        thresholds=settings.thresholds,
        peers=settings.peers,
    )
