"""``python -m tests.fuzz``: does any input break a property?

Without --guided: seeded mutation, the targets in turn, the same inputs for the same seed. With
--guided TARGET: coverage-guided by atheris, which has to be installed for that (it is no
dependency of ours). Ends with 1 when something was found; each finding is printed with its input
as a Python literal.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import time
import zlib

from tests.fuzz.cost import expensive
from tests.fuzz.targets import TARGETS

_TURN_S = 0.5
_FINDINGS = 5  # of one target; it rests then
_STUCK_S = 60


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds, all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), default=None)
    parser.add_argument("--no-cost", action="store_true", help="leave the cost check out")
    parser.add_argument("--guided", choices=sorted(TARGETS), help="by coverage, with atheris")
    given = parser.parse_args(arguments)
    if given.guided:
        from tests.fuzz.guided import run

        return run(given.guided, int(given.seconds), given.seed)
    found = mutate(given.target or list(TARGETS), given.seconds, given.seed)
    if not given.no_cost:
        for name, growth in expensive():
            found += 1
            print(f"cost: {name}: twice the text takes {growth:.1f} times the time")
    print(f"{found} findings")
    return 1 if found else 0


def mutate(names: list[str], seconds: float, seed: int) -> int:
    """Run the targets in turn for so many CPU seconds; how many findings there were."""
    chances = {name: random.Random(zlib.crc32(f"{seed} {name}".encode())) for name in names}
    inputs, spent = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    findings = dict.fromkeys(names, 0)
    began = time.process_time()
    while time.process_time() - began < seconds:
        turn = [name for name in names if findings[name] < _FINDINGS]
        if not turn:
            break
        for name in turn:
            start = time.process_time()
            # An input that never ends is a finding too: its stack is printed, and we end.
            faulthandler.dump_traceback_later(_STUCK_S + _TURN_S, exit=True)
            while (now := time.process_time()) - start < _TURN_S:
                findings[name] += not tried(name, TARGETS[name].make(chances[name]))
                inputs[name] += 1
            spent[name] += now - start
    faulthandler.cancel_dump_traceback_later()
    print(f"{'target':<12} {'CPU s':>8} {'inputs':>10} {'findings':>8}")
    for name in names:
        print(f"{name:<12} {spent[name]:8.1f} {inputs[name]:10} {findings[name]:8}")
    return sum(findings.values())


def tried(name: str, data: bytes) -> bool:
    """False if the input breaks a property, which is printed."""
    try:
        TARGETS[name].check(data)
    except Exception as error:  # anything that is raised is what is looked for
        print(f"{name}: {type(error).__name__}: {str(error)[:600]}\n  input: {data[:2000]!r}")
        sys.stdout.flush()
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
