"""What is asked for? The parameters of Autopilot's paths, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

CHECKS = ("dcgm", "gpumem", "gpupower", "iperf", "pciebw", "ping", "pvc", "remapped")
PERIODIC = ("pciebw", "remapped", "dcgm", "ping", "gpupower")
ALL, NONE = "all", "None"
IPERF, PING, PVC = "iperf", "ping", "pvc"
_MOST_HOSTS = 20_000
_MOST_CHECKS = 16
_MOST_CLIENTS = 64
_MOST_PINGED = 8  # an agent takes so many requests at once


class QueryError(ValueError):
    """What is asked for cannot be: the text is the answer."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question. ``checks`` empty: the periodic ones, as the agent has them."""

    hosts: tuple[str, ...] | None  # None: all, or as job and nodelabel say
    checks: tuple[str, ...]
    batch: int  # nodes at once; 0: all
    job: str  # "namespace:key=value"; "" is none
    nodelabel: str
    level: str  # of DCGM
    clients: int = 8
    port: int = 5200
    host_text: str = ALL  # as it was asked
    pingnodes: tuple[str, ...] = ()  # that are to be pinged; (): those that the agents know
    cleanup: bool = False  # the answer ends once no server of iperf3 is left

    def url(self, address: str, port: int, node: str) -> str:
        """The address that Autopilot would ask on a node, as its client prints it."""
        where = f"[{address}]" if ":" in address else address
        return f"http://{where}:{port}/status?{self.parameters(node)}"

    def parameters(self, node: str) -> str:
        """Of the question to a node's agent."""
        text = f"host={quote(node, safe='')}"
        if self.checks:
            text += f"&check={quote(','.join(self.checks), safe=',')}"
        if "ping" in self.checks:
            text += f"&job={quote(self.job, safe=':=./')}" if self.job else ""
            text += f"&nodelabel={quote(self.nodelabel, safe='=./')}" if self.nodelabel else ""
        return text + (f"&r={quote(self.level, safe='')}" if "dcgm" in self.checks else "")


def parsed(parameters: Mapping[str, str], check: str = "", *, named: bool = False) -> Query:
    """The question. ``check``: that of a path of its own; ``named``: it has to say which nodes.
    Raises QueryError."""
    if named and not any(map(parameters.get, ("host", "job", "nodelabel"))):
        raise QueryError("Name the nodes: host=, job= or nodelabel=; host=all for all of them.")
    text = check or parameters.get("check", "") or ALL
    checks = _words(text)
    if ALL in checks:
        checks = ()
    if len(checks) > _MOST_CHECKS:
        raise QueryError(f"At most {_MOST_CHECKS} checks at once.")
    job, label = _given(parameters, "job"), _given(parameters, "nodelabel")
    hosts: tuple[str, ...] | None = _words(parameters.get("host", "") or ALL)
    if hosts is not None and ALL in hosts:
        hosts = () if job or label else None
    if hosts is not None and len(hosts) > _MOST_HOSTS:
        raise QueryError(f"At most {_MOST_HOSTS} hosts at once.")
    workload = parameters.get("workload", "") or "ring"
    if workload.lower() != "ring":
        raise QueryError("Unsupported Workload Attempted: workload=ring is the one there is.")
    pinged = _words(parameters.get("pingnodes", "") or ALL)
    pinged = () if ALL in pinged else pinged
    if len(pinged) > _MOST_PINGED:
        raise QueryError(f"At most {_MOST_PINGED} pingnodes at once.")
    return Query(
        hosts=hosts,
        checks=checks,
        batch=_whole(parameters, "batch", 0, 0, _MOST_HOSTS),
        job=job,
        nodelabel=label,
        level=parameters.get("r", "") or "1",
        clients=_whole(parameters, "pclients", 8, 1, _MOST_CLIENTS),
        port=_whole(parameters, "startport", 5200, 1024, 65535),
        host_text=parameters.get("host", "") or ALL,
        pingnodes=pinged,
        cleanup="cleanup" in parameters,
    )


def workload(job: str) -> tuple[str, str]:
    """Namespace and label selector of ``job``. Raises QueryError."""
    parts = job.split(":")
    if len(parts) != 2 or "" in parts:
        raise QueryError(f"Invalid job definition, must be namespace:label=value. Got {parts}")
    return parts[0], parts[1]


def _given(parameters: Mapping[str, str], name: str) -> str:
    text = parameters.get(name, "").strip()
    return "" if text == NONE else text


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def _whole(parameters: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = parameters.get(name, "")
    if not text:
        return usual
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most:
        raise QueryError(f"{name}={text[:40]!r}: a number from {least} to {most} is expected.")
    return int(text)


def node_checks(checks: Sequence[str]) -> tuple[str, ...]:
    """Those that an agent answers: PERIODIC, where none is named."""
    return without(checks or PERIODIC, IPERF, PVC)


def without(checks: Sequence[str], *names: str) -> tuple[str, ...]:
    """The checks but for these."""
    return tuple(each for each in checks if each not in names)
