from __future__ import annotations

from collections.abc import Mapping

import pytest

from probes.check import Context, Finding, NodeFacts, Outcome, ToolOutput
from probes.checks.ping import MOST_PEERS, Ping
from probes.errors import CheckError, Skipped, ToolMissing
from probes.tools import interfaces
from probes.tools.ping import parse_ping
from tests.support.network_checks import context, run, said
from tests.support.tool_output import ScriptedTool

UP = {"lo": True, "eth0": True, "net1": True}
PEERS: dict[str, dict[str, tuple[str, ...]]] = {
    "node-b": {"eth0": ("10.9.0.2",)},
    "node-c": {"eth0": ("10.9.0.3",)},
}
OK, DEAD, LOSSY = said("ping/ok.txt"), said("ping/dead.txt", 1), said("ping/lossy.txt")


class Wire:
    """Answers by address."""

    def __init__(self, answers: Mapping[str, ToolOutput]) -> None:
        self.answers, self.calls = answers, list[tuple[str, ...]]()

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        self.calls.append(arguments)
        return self.answers[arguments[-1]]


def ping(here: Mapping[str, bool] = UP, own: tuple[str, ...] = ()) -> Ping:
    return Ping(lambda: here, lambda address: address in own)


def on(
    wire: Mapping[str, ToolOutput],
    peers: Mapping[str, Mapping[str, tuple[str, ...]]] = PEERS,
    options: Mapping[str, str] | None = None,
) -> Context:
    base = context(node=NodeFacts("node-a", peers=peers), options=options or {"count": "50"})
    return Context(base.backend, Wire(wire), node=base.node, options=base.options)


def values(finding: Finding) -> dict[str, float]:
    return {each.name: each.value for each in finding.measurements}


# ---------------------------------------------------------------- what ping says


def test_answers_and_their_times() -> None:
    pinged = parse_ping(OK)
    assert (pinged.sent, pinged.received, pinged.rtt_ms) == (10, 10, 0.125)
    assert parse_ping(said("ping/ok-v6.txt")).received == 10


def test_loss_is_counted_from_the_packets() -> None:
    assert parse_ping(LOSSY).loss_percent == 26.0
    assert parse_ping(DEAD).loss_percent == 100.0
    assert parse_ping(said("ping/dead-errors.txt", 1)).sent == 4


@pytest.mark.parametrize("name", ["no-route", "unreachable"])
def test_no_way_to_a_host_is_a_result(name: str) -> None:
    pinged = parse_ping(said(f"ping/{name}.err", 2))
    assert (pinged.loss_percent, pinged.sent) == (100.0, 0)
    assert pinged.reason in ("No route to host", "Network is unreachable")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10 received", "11 received"),
        ("10 received", "9 received"),
        ("0% packet loss", "10% packet loss"),
        ("rtt min/avg/max/mdev", "rtt min/avg/max"),
        ("0.046/0.125/0.821", "0.946/0.125/0.821"),
        ("0.046/0.125/0.821", "0.046/nan/0.821"),
        ("10 packets transmitted, 10", "0 packets transmitted, 0"),
    ],
)
def test_a_summary_that_contradicts_itself_is_refused(old: str, new: str) -> None:
    assert old in OK.stdout
    with pytest.raises(CheckError):
        parse_ping(ToolOutput(0, OK.stdout.replace(old, new), ""))


def test_an_exit_status_that_contradicts_the_summary_is_refused() -> None:
    for output, code in ((OK, 1), (OK, -9), (DEAD, 0), (DEAD, 2)):
        with pytest.raises(CheckError):
            parse_ping(ToolOutput(code, output.stdout, ""))


# ---------------------------------------------------------------- the check


def test_an_interface_whose_peers_answer_passes() -> None:
    (finding,) = run(ping(), on({"10.9.0.2": OK, "10.9.0.3": OK}))
    assert (finding.outcome, finding.device) == (Outcome.PASS, "eth0")
    assert values(finding) == {
        "peers": 2, "good_peers": 100, "loss_worst": 0, "rtt_median": 0.125,
    }  # fmt: skip
    assert finding.detail["peer.1"] == "node-b 10.9.0.2 loss=0 rtt_ms=0.125"


def test_one_of_two_peers_is_dead_and_the_interface_works() -> None:
    (finding,) = run(ping(), on({"10.9.0.2": OK, "10.9.0.3": DEAD}))
    assert finding.outcome is Outcome.PASS
    assert "not node-c 10.9.0.3 loss=100" in finding.message


def test_nobody_answers_and_nobody_is_accused() -> None:
    (finding,) = run(ping(), on({"10.9.0.2": DEAD, "10.9.0.3": DEAD}))
    assert finding.outcome is Outcome.WARN
    assert values(finding)["good_peers"] == 0


def test_loss_is_measured_once_more_before_it_is_told() -> None:
    tool = ScriptedTool({"ping": [LOSSY, OK]})
    asked = on({}, {"node-b": PEERS["node-b"]})
    its = Context(asked.backend, tool, node=asked.node, options=asked.options)
    assert run(ping(), its)[0].outcome is Outcome.PASS
    tool = ScriptedTool({"ping": [LOSSY]})
    its = Context(asked.backend, tool, node=asked.node, options=asked.options)
    (finding,) = run(ping(), its)
    assert (finding.outcome, values(finding)["loss_worst"]) == (Outcome.WARN, 26.0)


def test_a_limit_of_the_controller_goes_before_that_of_an_option() -> None:
    node = NodeFacts("node-a", thresholds={"ping/loss": 30.0}, peers={"node-b": PEERS["node-b"]})
    its = context({"ping": [LOSSY]}, node=node, options={"loss": "1", "count": "50"})
    (finding,) = run(ping(), its)
    assert finding.outcome is Outcome.PASS
    limits = {each.name: each.threshold for each in finding.measurements}
    assert limits["loss_worst"] is not None
    assert limits["loss_worst"].source == "override of the controller"


def test_it_pings_over_the_interface_and_an_address_is_never_an_option() -> None:
    its = on({"10.9.0.2": OK, "10.9.0.3": OK})
    run(ping(), its)
    assert isinstance(its.tool, Wire)
    assert all(call[-3:-1] == ("-I", "eth0") for call in its.tool.calls)
    for hostile in ("-f", "10.0.0.1 -f", "host", "", "224.0.0.1", "0.0.0.0"):
        with pytest.raises(CheckError, match="not the address of a host"):
            run(ping(), on({}, {"node-b": {"eth0": (hostile,)}}))
    with pytest.raises(CheckError, match="not the name of an interface"):
        run(ping(), on({}, {"node-b": {"-I": ("10.9.0.2",)}}))


def test_the_pod_network_has_no_interface_of_its_own() -> None:
    its = on({"10.9.0.2": OK}, {"node-b": {"default": ("10.9.0.2",)}})
    assert run(ping(here={}), its)[0].outcome is Outcome.PASS
    assert isinstance(its.tool, Wire)
    assert "-I" not in its.tool.calls[0]


def test_an_interface_that_is_missing_down_or_without_its_address_fails() -> None:
    peers: dict[str, dict[str, tuple[str, ...]]] = {
        **PEERS,
        "node-a": {"eth0": ("10.9.0.1",), "net1": ("10.8.0.1",), "net2": ()},
    }
    its = on({"10.9.0.2": OK, "10.9.0.3": OK}, peers)
    here = {"eth0": True, "net1": False}
    found = run(ping(here, own=("10.9.0.9",)), its)
    assert [(each.outcome, each.message) for each in found[:3]] == [
        (Outcome.FAIL, "the interface eth0 has lost its address 10.9.0.1"),
        (Outcome.FAIL, "the interface net1 is down"),
        (Outcome.FAIL, "the interface net2 is missing"),
    ]


def test_an_interface_that_only_others_have_is_skipped() -> None:
    (finding,) = run(ping(), on({}, {"node-b": {"net9": ("10.9.0.2",)}}))
    assert finding.outcome is Outcome.SKIP


def test_without_peers_nothing_is_measured() -> None:
    with pytest.raises(Skipped, match="no peers are known"):
        run(ping(), on({}, {}))


def test_a_ping_that_cannot_work_is_an_error_and_no_loss() -> None:
    broken = said("ping/no-interface.err", 2)
    (finding,) = run(ping(), on({"10.9.0.2": broken, "10.9.0.3": broken}))
    assert finding.outcome is Outcome.ERROR
    assert "No such device" in finding.message
    (finding,) = run(ping(), on({"10.9.0.2": OK, "10.9.0.3": broken}))
    assert finding.detail["peer.2"] == "node-c 10.9.0.3 error"
    with pytest.raises(ToolMissing):
        run(ping(), context(node=NodeFacts("node-a", peers=PEERS)))


def test_more_answers_than_packets_that_were_asked_for_are_an_error() -> None:
    (finding,) = run(ping(), on({"10.9.0.2": OK, "10.9.0.3": OK}, options={"count": "5"}))
    assert finding.outcome is Outcome.ERROR


def test_one_pair_is_asked_for_by_options() -> None:
    asked = {"count": "50", "peer": "node-x", "addresses": "eth0=10.9.0.7,net1=10.8.0.7"}
    found = run(ping(), on({"10.9.0.7": OK, "10.8.0.7": DEAD}, options=asked))
    assert [(each.device, each.outcome) for each in found] == [
        ("eth0", Outcome.PASS),
        ("net1", Outcome.WARN),
    ]
    assert found[1].detail["peer.1"] == "node-x 10.8.0.7 loss=100"


@pytest.mark.parametrize(
    ("options", "said_"),
    [
        ({"count": "0"}, "option count"),
        ({"count": "many"}, "option count: 'many' is not a number from 1 to 100"),
        ({"count": "1.5"}, "option count: 1.5 is not a whole number"),
        ({"loss": "nan"}, "option loss"),
        ({"peer": "x"}, "option addresses: a peer without an address"),
        ({"peer": "x", "addresses": "10.0.0.1"}, "is not INTERFACE=ADDRESS"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, str], said_: str) -> None:
    with pytest.raises(CheckError, match=said_):
        run(ping(), on({}, options=options))


def test_peers_are_bounded() -> None:
    many = {f"node-{i:02}": {"eth0": (f"10.9.1.{i}",)} for i in range(1, 40)}
    (finding,) = run(ping(), on(dict.fromkeys((f"10.9.1.{i}" for i in range(40)), OK), many))
    assert values(finding)["peers"] == MOST_PEERS
    assert len(finding.detail) <= 16


def test_loopback_is_an_interface_and_its_address_ones_own() -> None:
    assert interfaces.interfaces().get("lo") in (True, False)
    assert interfaces.is_own("127.0.0.1")
    assert not interfaces.is_own("192.0.2.1")
