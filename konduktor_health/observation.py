"""Which faults are in observation: recorded and shown, never the reason for a taint?

By default those of which the rules themselves say what may make them wrong (``Rule.observe``). The
setting ``policy.observe`` replaces the list, not the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from konduktor_health.errors import ConfigError, excerpt
from parsers import catalog, tables
from parsers.tables import Tables

CHOSEN = "listed in policy.observe"


def observed(asked: Iterable[str] | None, read: Tables | None = None) -> Mapping[str, str]:
    """Fault ids with the reason of each. ``asked``: the setting, None where it is not set.

    Raises ConfigError for an id that is none. ``read``: the tables in use; default: the shipped.
    """
    doubts = (read or tables.recorded()).observed
    if asked is None:
        return doubts
    own = {} if read is None else {rule.fault_id for rule in (*read.kernel.rules, *read.pod.rules)}
    found: list[str] = []
    for fault_id in asked:
        entry = catalog.entry(fault_id)
        if entry is None and fault_id not in own:
            near = catalog.nearest(fault_id)
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            raise ConfigError(
                f"settings: policy.observe: no such fault: {excerpt(fault_id)!r}",
                hint=f"{meant}docs/reference/faults.md lists them all",
            )
        found.append(entry.fault_id if entry else fault_id)  # xid/079 is xid/79
    return {fault_id: doubts.get(fault_id, CHOSEN) for fault_id in found}
