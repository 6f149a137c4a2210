"""The page of a record's states, from ``core.states``."""

from __future__ import annotations

from konduktor_health.core.states import as_table

_HEAD = """
# States of a record

A record is a fault of one device of one node. Its state follows from what the ledger says
([Keys](keys.md#ledger)); `explain NODE` shows it in words. A decision leaves a state as
it is, or takes one of these steps, and no other.

"""

_FOOT = """
A node's taint follows from all of its records: the strongest effect that any of them asks for. It
goes when none asks any more.
"""


def states_page() -> str:
    """The page's text."""
    return _HEAD + as_table() + _FOOT
