"""What is known about one kind of fault? One entry of a fault table.

An entry says what a code means where its line says nothing more; the driver's own word in a line
outranks it. Severity and remedy come from the entry's class unless the table says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.fault import Remedy, Severity

#: What a fault concerns.
SCOPES = ("gpu", "link", "switch", "node", "fabric", "application")


class CatalogError(ValueError):
    """A fault table is damaged: the message names the table, the entry and the field."""


@dataclass(frozen=True, slots=True)
class FaultClass:
    """Codes that lead to the same first action, and what holds for all of them."""

    name: str
    severity: Severity
    remedy: Remedy
    nonfatal: Severity  # where an SXid line prints Non-fatal
    scope: str
    investigate: str  # key of an investigation
    action: str  # what to do first, in words


@dataclass(frozen=True, slots=True)
class Entry:
    """One code, or one fault without a code (``code`` 0)."""

    fault_id: str
    code: int
    mnemonic: str
    meaning: str
    severity: Severity
    remedy: Remedy
    nonfatal: Severity = Severity.DEGRADED  # where an SXid line prints Non-fatal
    fault_class: str = ""  # name of its FaultClass
    action: str = ""
    scope: str = "gpu"  # one of SCOPES; "" where a rule names the fault
    investigation: str = ""  # what to look at next
    sources: tuple[str, ...] = ()  # document, or project and file
    alias: str = ""  # another name of the same code
    vendor: tuple[str, ...] = ()  # NVIDIA's buckets: immediate, then for the investigation
    gpus: tuple[str, ...] = ()  # the only generations on which it occurs; () is not known or all
    guide: str = ""  # SXid: fatal, always_fatal, non_fatal or notable in the fabric guide
    prints: tuple[str, ...] = ()  # SXid: the words that the driver may print
    accuses: str = ""  # node, peer or nobody, where a rule names the fault
    by_program: bool = False  # a program prints it: no statement of the kernel
    noise: str = ""  # why such a line says nothing; "" when it says something
    note: str = ""  # duplicates, companions, repeats
    observe: str = ""  # what may make it wrong: it taints nothing by default
    proves: str = ""  # which repair a marker proves
    repeats_on: tuple[str, ...] = ()  # what makes a repeat: detail names, or "device"
    examples: tuple[str, ...] = ()  # lines that are this fault
    counter_examples: tuple[str, ...] = ()  # lines that look like it and are not
