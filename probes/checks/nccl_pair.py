"""Does an all-reduce over this node and a partner give right sums, fast enough?

The controller asks for it, with the partner. ``mpirun`` starts ``all_reduce_perf`` on both; it
needs a way to start programs on the partner (ssh, or ``rsh-agent``, which only the agent's own
configuration names). A pair accuses no node by itself: the controller does, when a node fails with
two different partners.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from probes.check import Cadence, CheckSpec, Context, Finding, Tier
from probes.errors import CheckError, Skipped
from probes.measuring.nccl_run import PROGRAM, SIZES, finding_of_runs, ready_gpus
from probes.tools.nccl_tests import NcclRun, parse_run
from probes.tools.programs import run_program

_MARGIN_S = 5.0
_PEER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class NcclPair:
    """All GPUs of this node and of a partner. Options: ``peer`` (host name or address that mpirun
    reaches), ``peer-gpus`` (as many as here if not told), ``rsh-agent``."""

    spec: CheckSpec
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding, of the node, with the partner as ``peer`` in its detail."""
        peer = context.options.get("peer", "")
        if not peer:
            raise Skipped("no partner: the controller asks for it with the option peer")
        if not _PEER.fullmatch(peer):
            raise CheckError(f"option peer={peer}: it has to be a host name or an address")
        gpus = ready_gpus(context)
        there = _count(context.options.get("peer-gpus", str(len(gpus))))
        arguments = _mpirun(context, peer, len(gpus), there)
        end = self.monotonic() + self.spec.deadline_s - _MARGIN_S

        def once() -> NcclRun:
            left = end - self.monotonic()
            output = run_program(context, "mpirun", arguments, deadline_s=left, option="mpirun")
            run = parse_run(output)
            if len(run.hosts) != 2:
                raise CheckError(f"nccl-tests ran on {len(run.hosts)} hosts instead of 2")
            return run

        yield finding_of_runs(context, self.spec.name, gpus[0], len(gpus) + there, once, peer)


def _mpirun(context: Context, peer: str, here: int, there: int) -> tuple[str, ...]:
    agent = context.options.get("rsh-agent", "")
    program = context.options.get("program", PROGRAM)
    return (
        *("--allow-run-as-root", "-np", str(here + there)),
        *("--host", f"localhost:{here},{peer}:{there}"),
        *(("-mca", "plm_rsh_agent", agent) if agent else ()),
        *(program, *SIZES, "-g", "1"),
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:4]) <= 64:
        raise CheckError(f"option peer-gpus={text}: it has to be 1 to 64")
    return int(text)


CHECK = NcclPair(
    CheckSpec(
        name="nccl-pair",
        title="Does an all-reduce with a partner node give right sums, fast enough?",
        tier=Tier.INVASIVE,
        cadence=Cadence.NEVER,
        deadline_s=600.0,
        needs_idle_gpus=True,
        request_options=frozenset({"peer", "peer-gpus"}),
    )
)
