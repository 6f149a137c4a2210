"""What do the agents' results say of the pairs that were tested?

``ping`` tells each peer in its detail (``peer.N``: "node address loss=0 rtt_ms=0.3"),
``iperf3-client`` its one peer (``result``, and the rates in its measurements);
docs/reference/network-checks.md has both.

Invariants: results are text of a node, so that what does not fit is ``NOT_MEASURED``; a ping is
judged by the limit that stands beside it, a rate by what was asked for, else by the other pairs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from konduktor_health.core.pair_tests import PairOutcome, PairResult, PairTest, worst
from parsers.printable import printable
from probes.report import Result

#: A pair below this share of the median of all pairs of its interface is slow.
USUAL_SHARE = 0.5
#: So many pairs make a median.
LEAST_PAIRS = 4

_PEER = re.compile(
    r"(\S{1,253}) (\S{1,64}) (?:loss=([0-9.]{1,16})(?: rtt_ms=[0-9.e-]{1,24})?|error)"
)


@dataclass(frozen=True, slots=True)
class Rate:
    """What came through between two nodes, in the slower direction, Gb/s."""

    client: str
    server: str
    interface: str
    gbps: float


def ping_outcome(test: PairTest, interface: str, results: Iterable[Result]) -> PairResult:
    """What the client's pings say of the pair on one interface; the worst of its addresses."""
    found: list[tuple[PairOutcome, str]] = []
    for result in results:
        if result.check == "ping" and result.device == interface:
            limit = _limit(result)
            found += [_of_loss(peer[3], limit) for peer in _peers(result) if peer[1] == test.server]
    if not found:
        return _told(test, interface, PairOutcome.NOT_MEASURED, "no ping of it was reported")
    bad = worst(outcome for outcome, _ in found)
    outcomes = {outcome for outcome, _ in found}
    if not bad.bad and PairOutcome.NOT_MEASURED in outcomes:
        bad = PairOutcome.NOT_MEASURED
    return _told(test, interface, bad, next(text for outcome, text in found if outcome is bad))


def told_peers(result: Result) -> Iterator[tuple[str, str, PairOutcome]]:
    """Node, address and outcome of each peer in a result of ``ping``."""
    limit = _limit(result)
    for peer in _peers(result):
        yield peer[1], peer[2], _of_loss(peer[3], limit)[0]


def rates(test: PairTest, interface: str, results: Iterable[Result]) -> Rate | None:
    """What the client measured with iperf3 on the interface; None where there is no rate."""
    for result in results:
        if _is_of(result, test, interface) and result.detail.get("result") in ("ok", "slow"):
            both = [m.value for m in result.measurements if m.name in ("send", "receive")]
            if both and all(math.isfinite(each) and each >= 0 for each in both):
                return Rate(test.client, test.server, interface, min(both))
    return None


def usual(measured: Iterable[Rate]) -> dict[str, float]:
    """The median rate of each interface, Gb/s: of a whole round, as follow-ups are of suspects."""
    by_interface: dict[str, list[float]] = {}
    for each in measured:
        by_interface.setdefault(each.interface, []).append(each.gbps)
    return {name: median(all_) for name, all_ in by_interface.items() if len(all_) >= LEAST_PAIRS}


def rate_outcome(
    test: PairTest, interface: str, results: Sequence[Result], usual_gbps: Mapping[str, float]
) -> PairResult:
    """What iperf3 says of the pair on the interface."""
    mine = [each for each in results if _is_of(each, test, interface)]
    said = mine[-1].detail.get("result", "") if mine else ""
    if said == "unreachable":
        return _told(test, interface, PairOutcome.FAILED, mine[-1].message)
    rate = rates(test, interface, mine)
    if rate is None:
        text = mine[-1].message if mine else "no rate of it was reported"
        return _told(test, interface, PairOutcome.NOT_MEASURED, text)
    expected = usual_gbps.get(interface, 0.0)
    text = f"{rate.gbps:.3g} Gb/s" + (f", usual are {expected:.3g}" if expected else "")
    slow = said == "slow" or rate.gbps < USUAL_SHARE * expected
    return _told(test, interface, PairOutcome.SLOW if slow else PairOutcome.OK, text)


def both(ping: PairResult, rate: PairResult) -> PairResult:
    """What ping and iperf3 together say of one pair: the worse; one of them measured is enough."""
    if ping.outcome is PairOutcome.NOT_MEASURED or (rate.outcome.bad and not ping.outcome.bad):
        return rate
    return ping


def _peers(result: Result) -> Iterator[re.Match[str]]:
    for name, told in result.detail.items():
        peer = _PEER.fullmatch(told) if name.startswith("peer.") else None
        if peer is not None:
            yield peer


def _limit(result: Result) -> float:
    """Most loss, percent, as it stands beside the worst that was measured."""
    limits = (m.threshold for m in result.measurements if m.name == "loss_worst")
    return next((limit.value for limit in limits if limit is not None), 0.0)


def _is_of(result: Result, test: PairTest, interface: str) -> bool:
    return (
        result.check == "iperf3-client"
        and result.device == interface
        and result.detail.get("peer") == test.server
    )


def _of_loss(given: str | None, limit: float) -> tuple[PairOutcome, str]:
    try:
        loss = math.nan if given is None else float(given)
    except ValueError:
        loss = math.nan
    if not 0 <= loss <= 100:
        return PairOutcome.NOT_MEASURED, "ping could not work"
    text = f"loss {loss:g} %"
    if loss == 100:
        return PairOutcome.FAILED, text
    return (PairOutcome.LOSSY if loss > limit else PairOutcome.OK), text


def _told(test: PairTest, interface: str, outcome: PairOutcome, text: str) -> PairResult:
    return PairResult(test.client, test.server, interface, outcome, printable(text, 200))
