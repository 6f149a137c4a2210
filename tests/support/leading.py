"""What a part of the controller stands beside in a test of its own: it leads, agents answer."""

from __future__ import annotations


class Leads:
    """Nobody else is there."""

    def assert_leader(self) -> None:
        """Always."""


class Believed:
    """Agents that answer, on every node."""

    def believed(self, _name: str) -> bool:
        return True


class Agents:
    """As ``adapters.probes.Agents`` for who asks only whether they are believed."""

    collector = Believed()
