"""Which faults may a rule name? Those of the tables in use, and those of the controller itself."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from konduktor_health.treatment import ALLOCATABLE, UNRESPONSIVE
from parsers import catalog, tables
from parsers.fault import Remedy, Severity
from parsers.tables import Tables

#: Fault ids that no line is decoded to: what they are by themselves.
OWN: dict[str, tuple[Severity, Remedy]] = {
    "operator/taint": (Severity.FATAL, Remedy.INSPECT),
    "node/unexpected-reboot": (Severity.DEGRADED, Remedy.NONE),
    ALLOCATABLE: (Severity.DEGRADED, Remedy.INSPECT),
    UNRESPONSIVE: (Severity.UNKNOWN, Remedy.NONE),
}
#: Codes come with new drivers, checks with new agents: a wildcard may match none that is known.
_OPEN = ("xid/", "sxid/", "probe/")
_MOST_NEAR = 3


class Known:
    """The faults of some tables. Reading is lazy: a file without fault ids needs none."""

    def __init__(self, read: Tables | None = None) -> None:
        self._read = read
        self._all: tuple[tuple[str, Severity, Remedy], ...] | None = None

    def canonical(self, fault_id: str) -> str | None:
        """The fault id as it is decoded (``xid/079`` is ``xid/79``), or None: no such fault."""
        if fault_id in OWN or fault_id.startswith("probe/"):
            return fault_id
        entry = catalog.entry(fault_id)
        if entry is not None:
            return entry.fault_id
        own = () if self._read is None else (*self._read.kernel.rules, *self._read.pod.rules)
        return fault_id if any(rule.fault_id == fault_id for rule in own) else None

    def any_like(self, glob: str) -> bool:
        """Whether a fault id with wildcards matches one that is known, or may come to."""
        if glob.startswith(_OPEN):
            return True
        return any(fnmatchcase(fault_id, glob) for fault_id, _, _ in self.all())

    def near(self, fault_id: str) -> list[str]:
        """Fault ids that may have been meant."""
        if fault_id.startswith(("xid/", "sxid/")):
            return []
        asked = fault_id[:80]
        found = [*catalog.nearest(asked), *difflib.get_close_matches(asked, OWN, n=1)]
        own = [each for each, _, _ in self.all()] if self._read is not None else []
        found += difflib.get_close_matches(asked, own, n=1)
        return list(dict.fromkeys(found))[:_MOST_NEAR]

    def judged(self, fault_id: str) -> tuple[Severity, Remedy] | None:
        """What a fault is where its line says nothing more; None where no table says it."""
        return next(((s, r) for known, s, r in self.all() if known == fault_id), None)

    def all(self) -> tuple[tuple[str, Severity, Remedy], ...]:
        """Every fault with its severity and remedy, in the order of the tables."""
        if self._all is None:
            found = {**OWN, **_of(self._read or tables.recorded())}
            self._all = tuple((fault_id, *judged) for fault_id, judged in found.items())
        return self._all


def _of(read: Tables) -> dict[str, tuple[Severity, Remedy]]:
    """The faults of tables. Rules of a site stand beside the shipped ones, or in their place."""
    found: dict[str, tuple[Severity, Remedy]] = {}
    for entries in (read.xids, read.sxids):
        for entry in entries.values():
            found[entry.fault_id] = (entry.severity, entry.remedy)
    for fault_id, entry in catalog.others().items():
        found[fault_id] = (entry.severity, entry.remedy)
    for rule in (*read.kernel.rules, *read.pod.rules):
        found[rule.fault_id] = (rule.severity, rule.remedy)
    for fault_id, override in read.overrides.items():
        if fault_id in found:
            found[fault_id] = override.judge(*found[fault_id])
    return found
