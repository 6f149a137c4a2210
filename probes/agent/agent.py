"""How does an agent begin, and how does it end?

Invariants: nothing is answered before what is on the disk was read; ``stop`` ends it within
seconds, with all processes of the run that is going on; a part that ends by itself ends the agent,
so that the kubelet starts it anew.
"""

from __future__ import annotations

import threading

from probes.agent.chores import Chores
from probes.agent.files import StateDir
from probes.agent.log import Log
from probes.agent.server import Server
from probes.agent.worker import Worker

_JOIN_S = 5.0
_WATCH_S = 1.0


class Agent:
    """All of its parts (``build`` puts them together)."""

    def __init__(
        self,
        worker: Worker,
        chores: Chores,
        server: Server,
        state: StateDir,
        log: Log,
        *,
        others: tuple[Server, ...] = (),
    ) -> None:
        """``others``: servers beside the agent's own."""
        self._worker, self._chores, self._server = worker, chores, server
        self._servers = (server, *others)
        self._state, self._log = state, log
        self._stopping = threading.Event()
        self._threads = (
            threading.Thread(target=worker.run, name="worker", daemon=True),
            threading.Thread(target=chores.run, name="chores", daemon=True),
        )

    @property
    def port(self) -> int:
        """On which it answers."""
        return self._server.port

    @property
    def ports(self) -> tuple[int, ...]:
        """All of its servers', its own first."""
        return tuple(server.port for server in self._servers)

    def run(self) -> bool:
        """Work until ``stop``. False: a part has ended by itself, or did not end."""
        for server in self._servers:
            server.start()
        for thread in self._threads:
            thread.start()
        self._log.info("agent works", port=self.port)
        whole = True
        while whole and not self._stopping.wait(_WATCH_S):
            whole = all(part.alive() for part in self._servers) and all(
                thread.is_alive() for thread in self._threads
            )
        if not whole:
            self._log.failed("a part of the agent has ended by itself")
        return self._end() and whole

    def stop(self) -> None:
        """End it. Safe in a signal handler."""
        self._stopping.set()

    def _end(self) -> bool:
        self._worker.stop()
        self._chores.stop()
        for server in self._servers:
            server.stop()
        for thread in self._threads:
            thread.join(_JOIN_S)
        left = [thread.name for thread in self._threads if thread.is_alive()]
        if left:
            self._log.failed("parts of the agent did not end", parts=", ".join(left))
            return False
        self._state.close()
        self._log.info("agent has ended")
        return True
