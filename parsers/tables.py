"""Which tables does a decoder read, and which of their rules give Faults?

The shipped tables, or those with a user's file over them. Two choices of rules: ``shipped`` gives
all that says something, for whoever looks at a log; ``recorded``, for the controller, only what may
stand on a Node, and markers of a repair: its filter is asked of Loki at every poll, and costs by
the number of literals.
Rules that give no Fault are matched all the same, so that a line keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from parsers import catalog
from parsers.catalog import Entry
from parsers.envelopes import BYTE_MESSAGES
from parsers.fault import Severity
from parsers.override import Override

if TYPE_CHECKING:
    from parsers.rules import Rule, RuleSet

#: Case-sensitive substrings for ``|= "a" or "b"``: a superset of what the rules on GPUs match
#: (Xid, SXid, GPU lost). The first holds for SXid too. Each stands inside one word group of the
#: message, so that neither colours nor JSON escapes split it; the last two let journald's byte
#: arrays through, and contain quotation marks.
GPU_LITERALS: tuple[str, ...] = (
    "Xid (",
    "XID (",
    "xid (",
    "fallen off the bus",
    "The NVIDIA GPU ",
    "installed in this system",
    *BYTE_MESSAGES,
)


def says_something(rule: Rule) -> bool:
    """Any rule but noise."""
    return not rule.noise


def concerns_node(rule: Rule) -> bool:
    """What may become a record of the node that printed it: worse than info, and accusing it."""
    return rule.severity is not Severity.INFO and rule.accuses == "node"


def is_recorded(rule: Rule) -> bool:
    """What the controller has to read: records of nodes, the markers of their repair, and lines
    that name another node as the one to blame."""
    accuses_peer = rule.severity is not Severity.INFO and rule.accuses == "peer"
    return concerns_node(rule) or bool(rule.proves) or accuses_peer


@dataclass(frozen=True)
class Tables:
    """The tables of one decoder. ``keep``: rules whose lines give Faults."""

    xids: Mapping[int, Entry]
    sxids: Mapping[int, Entry]
    kernel: RuleSet
    pod: RuleSet
    keep: Callable[[Rule], bool] = says_something
    #: What a site holds of faults on GPUs and switches, by fault id; it outranks their lines.
    overrides: Mapping[str, Override] = field(default_factory=dict)
    #: Fault ids of rules that match and give nothing.
    silent: frozenset[str] = field(init=False)
    #: What a server-side filter may look for: any kernel line that gives a Fault contains at least
    #: one of these (property-tested).
    literals: tuple[str, ...] = field(init=False)
    #: The same for pods' lines.
    pod_literals: tuple[str, ...] = field(init=False)
    #: Fault ids that are recorded and by default taint nothing, with what may make them wrong.
    observed: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        all_rules = (*self.kernel.rules, *self.pod.rules)
        silent = frozenset(rule.fault_id for rule in all_rules if not self.keep(rule))
        observed = {rule.fault_id: rule.observe for rule in all_rules if rule.observe}
        object.__setattr__(self, "silent", silent)
        object.__setattr__(self, "observed", MappingProxyType(observed))
        object.__setattr__(self, "literals", GPU_LITERALS + self.kernel.where(self.keep).literals)
        object.__setattr__(self, "pod_literals", self.pod.where(self.keep).literals)


@cache
def shipped() -> Tables:
    """The shipped tables; all that says something. Raises CatalogError, OSError or ValueError for
    damaged data files."""
    from parsers import rules  # its classes cost a tenth of the import of the parsers

    return Tables(catalog.xids(), catalog.sxids(), rules.kernel_rules(), rules.pod_rules())


@cache
def recorded() -> Tables:
    """The shipped tables; only what may stand on a Node, or close what does. Raises as
    ``shipped``."""
    whole = shipped()
    return Tables(whole.xids, whole.sxids, whole.kernel, whole.pod, is_recorded)
