"""Where on its device is the state of a Fault? Details that begin and end have to share."""

from __future__ import annotations

from parsers.fault import Fault

#: Details that say where a state is, besides the device.
_PLACES = ("cpu", "part", "peer", "link")
_NAMES = frozenset(_PLACES)


def place_of(fault: Fault) -> tuple[tuple[str, str], ...]:
    """The details that say so, in a fixed order; () is the whole device."""
    detail = fault.detail
    if _NAMES.isdisjoint(detail):  # most faults: asked for each line
        return ()
    return tuple((name, detail[name]) for name in _PLACES if name in detail)
