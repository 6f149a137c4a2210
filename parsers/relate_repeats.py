"""Did the same fault happen again in the same place, to another job?

Where an entry says what makes a repeat (``repeats_on``): Xid 13 on the same GPC and TPC, Xid 31 on
the same GPU, NVLink and NVSwitch errors on the same link. What one job prints again counts once: a
job is its pid, or the same program within one burst. Where no program is named, and for links,
a burst counts once.

Hardware ECC errors of Xid 74 count from the third on (NVIDIA's workbook: more than 2 on one link).
The other numbers are NVSentinel's (health-events-analyzer): 2 repeats of Xid 13 or 31 ask for
diagnostics; 24 hours are looked back; a burst ends after 3 minutes without the fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

from parsers import catalog
from parsers.fault import Fault, Remedy, Severity
from parsers.finding import Finding, Kind
from parsers.instant import Instant, Recent

REPEATS = 2
LOOK_BACK_S = 24 * 3600.0
BURST_S = 180.0
_PLACES = 256  # of one node
_JOBS = 8  # of one place


@dataclass(slots=True)
class _Job:
    pid: str
    process: str
    last: Instant


class Repeats:
    """The jobs that were hit in the places of one node."""

    def __init__(self) -> None:
        self._places: Recent[tuple[str, ...], list[_Job]] = Recent(_PLACES)

    def feed(self, fault: Fault, at: Instant) -> list[Finding]:
        """Whether this Fault hits another job in a place where one was hit before."""
        place = _place(fault)
        if place is None:
            return []
        jobs = [job for job in self._places.get(place) or [] if _looked_back(job.last, at)]
        pid, process = _job(fault)
        same = next((job for job in jobs if _is_job(job, pid, process, at)), None)
        if same is not None:
            same.last = at
            self._places.put(place, jobs)
            return []
        jobs.append(_Job(pid, process, at))
        self._places.put(place, jobs[-_JOBS:])
        needed = REPEATS + (fault.detail.get("asks") in _counted_twice())
        return [_repeat(fault, place, len(jobs))] if len(jobs) >= needed else []


def _place(fault: Fault) -> tuple[str, ...] | None:
    """Where it happened; None where the line does not tell, or repeats say nothing."""
    if fault.severity in (Severity.INFO, Severity.UNKNOWN):
        return None
    names = _repeats_on(fault.fault_id)
    told = [fault.device if name == "device" else fault.detail.get(name, "") for name in names]
    if not names or not all(told) or fault.detail.get("link") == "-1":
        return None
    return (fault.fault_id, *told)


@lru_cache(maxsize=1024)
def _repeats_on(fault_id: str) -> tuple[str, ...]:
    entry = catalog.entry(fault_id)
    return entry.repeats_on if entry else ()


@cache
def _counted_twice() -> frozenset[str]:
    """What bits of Xid 74 ask for that are acted on from the third time on."""
    bits = (bit for register in catalog.registers().values() for bit in register)
    return frozenset(bit.asks for bit in bits if bit.kind == "hardware_ecc")


def _looked_back(last: Instant, at: Instant) -> bool:
    """A repeat after a reboot is one, so that the boot does not matter."""
    if last.time_ns and at.time_ns:
        return abs(at.time_ns - last.time_ns) <= LOOK_BACK_S * 1e9
    apart = last.apart_s(at)
    return apart is None or apart <= LOOK_BACK_S or apart == float("inf")


def _job(fault: Fault) -> tuple[str, str]:
    """Pid and program of the job that was hit; a broken link is told by whoever comes first."""
    if fault.severity is not Severity.APPLICATION:
        return "", ""
    return fault.detail.get("pid", ""), fault.detail.get("process", "")


def _is_job(job: _Job, pid: str, process: str, at: Instant) -> bool:
    apart = job.last.apart_s(at)
    if apart == float("inf"):
        return False
    if pid and pid == job.pid:
        return True
    if apart is None:
        return not (pid and job.pid)
    return apart <= BURST_S and (not process or not job.process or process == job.process)


def _repeat(fault: Fault, place: tuple[str, ...], jobs: int) -> Finding:
    where = ", ".join(
        f"{name} {value}" if name != "device" else value
        for name, value in zip(_repeats_on(fault.fault_id), place[1:], strict=True)
    )
    severity = min(fault.severity, Severity.DEGRADED, key=lambda each: each.rank)
    if fault.severity is Severity.APPLICATION:
        what = "different jobs were hit in the same place: run diagnostics (DCGM EUD) on this GPU"
    else:
        what = "it came back in the same place: after the repair, have it inspected"
    why = f"{fault.fault_id} {jobs} times on {where}: {what}"
    return Finding(Kind.REPEATED, fault, severity, Remedy.DRAIN_INSPECT, why, None, jobs)
