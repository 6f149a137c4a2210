"""What does the agent ask of whoever runs checks? ``probes.runner.run.Runner`` is the real one."""

from __future__ import annotations

from typing import Protocol

from probes.runner.order import Order, Ran


class Runner(Protocol):
    """Runs checks in other processes. Used by one thread, but for ``stop``."""

    def run(self, order: Order) -> Ran:
        """Run the checks of an order; ends within the sum of their deadlines and a second for each.
        Raises KeyError (no such check), RunStopped, OSError (nothing can be started)."""
        ...

    def stop(self) -> None:
        """End what runs now, with all its processes, and run nothing any more. Any thread."""
        ...
