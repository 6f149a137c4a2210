"""How are the agents on the nodes doing? Words for what came of asking them.

Part of the vocabulary: no behaviour beyond reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class AgentState(Enum):
    """How the agent of a node is doing, as far as it was asked. Values are metric labels. Whatever
    it is but OK, the node is not observed by probes: that heals nothing and accuses nobody."""

    OK = "ok"  # it answers, and what it says is believed
    MISSING = "missing"  # a managed node without an agent's pod
    NEW = "new"  # not asked yet
    SILENT = "silent"  # no answer: the network, the pod, or the node
    REFUSING = "refusing"  # it answers, and does not give its report
    GARBLED = "garbled"  # what it answers is no report
    WRONG_NODE = "wrong-node"  # its report names another node
    WRONG_BOOT = "wrong-boot"  # its report is of another boot than the Node's
    FAKE = "fake"  # of a fake backend, which proves nothing
    STALE = "stale"  # it answers, and no run has ended for long


#: What comes of asking an agent for its report: a new one, the one that is known, or why none.
ANSWERS = (
    "ok",
    "unchanged",
    *(
        state.value
        for state in AgentState
        if state not in (AgentState.OK, AgentState.MISSING, AgentState.NEW, AgentState.STALE)
    ),
)


@dataclass(frozen=True, slots=True)
class AgentStanding:
    """What is known of the agent of one node."""

    state: AgentState
    since_ns: int  # when it came to be so, Unix ns
    message: str = ""  # why it is not OK; bounded, printable
    #: Checks that ended in an error or a time-out several times in a row, and how often.
    unmeasured: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class AgentCensus:
    """Counts over all agents. ``answers`` and ``results`` only grow."""

    states: Mapping[AgentState, int] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)  # by what came of asking
    results: Mapping[str, int] = field(default_factory=dict)  # by outcome
    unmeasured_nodes: int = 0  # with a check that was not measured several times in a row
    kept_results: int = 0
