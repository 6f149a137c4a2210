"""What do the ledgers of the nodes say? Each version of an annotation is read once."""

from __future__ import annotations

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.ledger import Ledger
from konduktor_health.model import NodeView


class Ledgers:
    """The ledger of each node, as it was read last. Used by one thread."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[str | None, str, Ledger]] = {}  # node -> text, UID, ledger

    def of(self, view: NodeView) -> Ledger:
        """The node's ledger; an empty one where it has none, or one that cannot be read."""
        known = self._read.get(view.name)
        if known and known[0] == view.ledger and known[1] == view.uid:
            return known[2]
        ledger, _ = read_ledger(view)
        self._read[view.name] = (view.ledger, view.uid, ledger)
        return ledger

    def forget(self, name: str) -> None:
        """The node is gone."""
        self._read.pop(name, None)
