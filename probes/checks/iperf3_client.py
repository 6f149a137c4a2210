"""How much comes through between this node and one other, in both directions?

The controller asks for it by a signed request, after it has asked the other node for
``iperf3-server``: until that listens, the client tries again. What it measures accuses neither of
the two: the worst outcome is a warning, which the controller weighs with other pairs.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable

from parsers.printable import printable
from probes import options
from probes.check import (
    Bound,
    Cadence,
    CheckSpec,
    Context,
    Finding,
    Measurement,
    Outcome,
    Threshold,
    Tier,
)
from probes.errors import CheckError, ToolTimeout
from probes.processes.ending import pause
from probes.tools.iperf3 import Iperf3Error, Rates, Trouble, parse_client

PORT = 5201  # iperf3's own
_AGAIN_S = 0.5  # between two attempts to reach a server that does not listen yet
_CONNECT_MS = 3000
_GIGA = 1e9
#: The address is that of the other node's agent, and nothing is sent there but a test's bytes.
_FROM_REQUESTS = frozenset(
    {"address", "port", "bind", "seconds", "parallel", "direction", "wait", "bandwidth"}
    | {"peer", "interface"}
)
_WAYS = {"both": ("--bidir",), "send": (), "receive": ("-R",)}


class Iperf3Client:
    """One test with one server."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = pause,
    ) -> None:
        self._monotonic = monotonic
        self._wait = wait
        self._spec = CheckSpec(
            "iperf3-client",
            "How much comes through between this node and another?",
            Tier.LIGHT,
            Cadence.NEVER,
            deadline_s=120.0,
            request_options=_FROM_REQUESTS,
        )

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        return self._spec

    def run(self, context: Context) -> Iterable[Finding]:
        """Options: ``address`` of the server, ``port``, ``bind`` (own address), ``seconds``,
        ``parallel``, ``direction`` (both, send, receive), ``wait`` (for the server, seconds),
        ``bandwidth`` (asked for, Gb/s), and ``peer``, ``interface`` for the report."""
        address = ip_option(context, "address")
        detail = {"address": address}
        for name in ("peer", "interface"):
            if said := printable(options.text(context, name), 253):
                detail[name] = said
        device = detail.get("interface", "")
        least = options.limit(
            context, "iperf3-client", "bandwidth", 0.0, Bound.AT_LEAST, "none is asked for"
        )
        try:
            rates = self._measure(context, address)
        except Iperf3Error as error:
            message = f"{address}: {error}"
            unreachable = error.trouble is Trouble.UNREACHABLE
            outcome = Outcome.WARN if unreachable else Outcome.ERROR
            yield Finding(
                outcome, message, device, detail={**detail, "result": error.trouble.value}
            )
            return
        except ToolTimeout as error:  # connected, and then nothing came through any more
            yield Finding(
                Outcome.WARN,
                f"{address}: {error}",
                device,
                detail={**detail, "result": Trouble.UNREACHABLE.value},
            )
            return
        yield _judge(rates, least, device, detail)

    def _measure(self, context: Context, address: str) -> Rates:
        seconds = options.whole(context, "seconds", 5, 1, 60)
        port = options.whole(context, "port", PORT, 1, 65535)
        parallel = options.whole(context, "parallel", 1, 1, 64)
        way = options.text(context, "direction", "both")
        if way not in _WAYS:
            raise CheckError(f"option direction: {printable(way, 64)!r} is not both, send, receive")
        arguments = [
            "iperf3", "-J", "-c", address, "-p", str(port), "-t", str(seconds), "-i", "0",
            "-P", str(parallel), "--connect-timeout", str(_CONNECT_MS), *_WAYS[way],
        ]  # fmt: skip
        if options.text(context, "bind"):
            arguments += ["-B", ip_option(context, "bind")]
        end = self._monotonic() + options.number(context, "wait", 10.0, 0.0, 60.0)
        while True:
            output = context.tool(tuple(arguments), deadline_s=seconds + 15.0)
            try:
                return parse_client(output)
            except Iperf3Error as error:
                if error.trouble not in (Trouble.REFUSED, Trouble.BUSY):
                    raise
                if self._monotonic() + _AGAIN_S > end:
                    raise
            self._wait(_AGAIN_S)


def ip_option(context: Context, name: str) -> str:
    """An option that is an address of a host. Raises CheckError."""
    given = options.text(context, name)
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        raise CheckError(f"option {name}: {printable(given, 64)!r} is no address") from None


def _judge(rates: Rates, least: Threshold, device: str, detail: dict[str, str]) -> Finding:
    slow = rates.least_bps < least.value * _GIGA or rates.least_bps == 0
    limit = least if least.value > 0 else None
    measured = [
        Measurement(name, rate / _GIGA, "Gb/s", limit)
        for name, rate in (("send", rates.forth_bps), ("receive", rates.back_bps))
        if rate is not None
    ]
    told = ", ".join(f"{each.name} {each.value:.3g} Gb/s" for each in measured)
    if limit:
        told += f"; at least {limit.value:g} ({limit.source})"
    if rates.retransmits is not None:
        measured.append(Measurement("retransmits", rates.retransmits, "count"))
    return Finding(
        Outcome.WARN if slow else Outcome.PASS,
        f"{detail.get('peer', detail['address'])}: {told}",
        device,
        tuple(measured),
        under_load=True,
        detail={**detail, "result": "slow" if slow else "ok"},
    )
