"""What is known about a fault that a rule names? A rule as an entry of the catalog.

The rules are read when first asked for; their pattern and literals are not part of an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from parsers.catalog.entry import Entry
from parsers.catalog.read import named
from parsers.rules import Rule, kernel_rules, pod_rules


def entry_of(rule: Rule) -> Entry:
    """The rule's entry. A rule has no class, and so no first action beside its remedy."""
    return Entry(
        fault_id=rule.fault_id,
        code=0,
        mnemonic=rule.fault_id.partition("/")[2].upper().replace("-", "_"),
        meaning=rule.meaning,
        severity=rule.severity,
        remedy=rule.remedy,
        scope="",
        investigation=rule.investigation,
        sources=rule.sources,
        accuses=rule.accuses,
        by_program=rule.printed_by == "program",
        noise=rule.noise,
        note=rule.note,
        observe=rule.observe,
        proves=rule.proves,
        examples=tuple(example.text for example in rule.examples),
        counter_examples=rule.counter_examples,
    )


@cache
def entries() -> Mapping[str, Entry]:
    """Entries of the shipped rules, by fault id: on kernel messages, then on pods' lines. Raises
    CatalogError for damaged data files."""
    with named("rules"):
        every = (*kernel_rules().rules, *pod_rules().rules)
        return MappingProxyType({rule.fault_id: entry_of(rule) for rule in every})
