"""Is this node there for the iperf3 test of another? It serves one client and ends.

Asked for by a signed request. That nobody came within the time is no measurement (``skip``); what
the client measured is in the client's report.
"""

from __future__ import annotations

from collections.abc import Iterable

from probes import options
from probes.check import Cadence, CheckSpec, Context, Finding, Measurement, Outcome, Tier
from probes.checks.iperf3_client import PORT, ip_option
from probes.errors import Skipped
from probes.tools.iperf3 import parse_server

_STALLED_MS = 10_000  # a client that sends nothing for so long is gone


class Iperf3Server:
    """Serves one client."""

    def __init__(self) -> None:
        self._spec = CheckSpec(
            "iperf3-server",
            "Was this node there for the test of another?",
            Tier.LIGHT,
            Cadence.NEVER,
            deadline_s=180.0,
            request_options=frozenset({"address", "port", "wait", "seconds"}),
        )

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        return self._spec

    def run(self, context: Context) -> Iterable[Finding]:
        """Options: ``address`` to listen on (all, if none), ``port``, ``wait`` for a client
        (seconds), ``seconds`` that the test lasts."""
        wait = options.whole(context, "wait", 20, 1, 60)
        seconds = options.whole(context, "seconds", 5, 1, 60)
        port = options.whole(context, "port", PORT, 1, 65535)
        arguments = [
            "iperf3", "-J", "-s", "-1", "-p", str(port), "-i", "0",
            "--idle-timeout", str(wait), "--rcv-timeout", str(_STALLED_MS),
        ]  # fmt: skip
        if options.text(context, "address"):
            arguments += ["-B", ip_option(context, "address")]
        output = context.tool(tuple(arguments), deadline_s=wait + seconds + 30.0)
        arrived_bps = parse_server(output)
        if arrived_bps is None:
            raise Skipped(f"no client came within {wait} s")
        arrived = Measurement("arrived", arrived_bps / 1e9, "Gb/s")
        yield Finding(
            Outcome.PASS, f"served a client: {arrived.value:.3g} Gb/s arrived", "", (arrived,)
        )
