"""How soon is the demo ready, from starting the process, and how long does its story take?"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable

from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most

ROUNDS = 3
_GIVE_UP_S = 60.0


def measure(options: Options) -> Iterable[Figure]:
    """The slowest of several starts."""
    rounds = 1 if options.quick else ROUNDS
    times = [_play() for _ in range(rounds)]
    about = f"slowest of {rounds}, from starting the process"
    yield Figure("demo_ready", max(ready for ready, _ in times), "s", at_most(5), about)
    yield Figure("demo_story", max(done for _, done in times), "s", at_most(60))


def _play() -> tuple[float, float]:
    """Seconds until the line "ready in" and until the end. Raises when the demo fails."""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "konduktor_health", "demo", "--exit"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        too_late = threading.Timer(_GIVE_UP_S, process.kill)
        too_late.start()
        ready, said = None, []
        try:
            for line in process.stdout or ():
                said.append(line)
                if ready is None and line.startswith("ready in"):
                    ready = time.monotonic() - began
            code = process.wait()
        finally:
            too_late.cancel()
            process.kill()
    if code != 0 or ready is None:
        raise RuntimeError(f"the demo ended with {code}: {''.join(said[-3:])}")
    return ready, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(run({"demo": measure}))
