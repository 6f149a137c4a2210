from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from probes.check import Finding, NodeFacts, Outcome, ToolOutput
from probes.checks.iperf3_client import Iperf3Client
from probes.checks.iperf3_server import Iperf3Server
from probes.errors import CheckError, Skipped, ToolTimeout
from probes.tools.iperf3 import Iperf3Error, Trouble, parse_client, parse_server
from tests.support.network_checks import context, run, said, text
from tests.support.tool_output import Answer


@dataclass
class Time:
    """Monotonic time that only waiting lets pass."""

    now_s: float = 0.0
    waited: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now_s += seconds


def client(answers: Sequence[Answer], time: Time | None = None, **options: str) -> list[Finding]:
    time = time or Time()
    check = Iperf3Client(lambda: time.now_s, time.wait)
    asked = {"address": "10.9.0.2", "peer": "node-b", "interface": "eth0"} | options
    return run(check, context({"iperf3": answers}, options=asked))


# ---------------------------------------------------------------- what iperf3 says


def test_both_directions_as_they_arrived() -> None:
    rates = parse_client(said("iperf3/client-bidir.json"))
    assert rates.forth_bps == pytest.approx(13.85e9, rel=0.01)
    assert rates.back_bps == pytest.approx(15.36e9, rel=0.01)
    assert rates.retransmits == 22781 + 34121


def test_the_slower_direction_counts() -> None:
    rates = parse_client(said("iperf3/client-slow-bidir.json"))
    assert rates.least_bps == pytest.approx(94.4e6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "gbps"),
    [("ok", 20.0), ("slow", 0.0956), ("parallel", 36.6), ("3.0.11", 0.934)],
)
def test_one_direction(name: str, gbps: float) -> None:
    rates = parse_client(said(f"iperf3/client-{name}.json"))
    assert rates.least_bps / 1e9 == pytest.approx(gbps, rel=0.02)
    assert rates.back_bps is None


def test_retransmits_are_told() -> None:
    assert (parse_client(said("iperf3/client-lossy.json")).retransmits or 0) > 100


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("refused", Trouble.REFUSED),
        ("timeout", Trouble.UNREACHABLE),
        ("noroute", Trouble.UNREACHABLE),
        ("busy", Trouble.BUSY),
    ],
)
def test_an_error_with_exit_status_0_is_an_error(name: str, trouble: Trouble) -> None:
    with pytest.raises(Iperf3Error) as caught:
        parse_client(said(f"iperf3/client-{name}.json", 0))
    assert caught.value.trouble is trouble


@pytest.mark.parametrize("name", ["server-no-address", "server-terminated"])
def test_a_server_that_could_not_serve_is_an_error(name: str) -> None:
    with pytest.raises(Iperf3Error):
        parse_server(said(f"iperf3/{name}.json", 1))


def test_what_arrived_at_a_server() -> None:
    assert parse_server(said("iperf3/server-ok.json")) == pytest.approx(20e9, rel=0.01)
    assert parse_server(said("iperf3/server-bidir.json")) == pytest.approx(13.8e9, rel=0.01)
    assert parse_server(ToolOutput(0, "", "")) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sum_received", "bits_per_second"), 1e14),
        (("sum_received", "bits_per_second"), 5.0),
        (("sum_received", "bits_per_second"), "fast"),
        (("sum_received", "bits_per_second"), -1),
        (("sum_received", "seconds"), 0),
        (("sum_received", "bytes"), 17),
        (("sum_received",), None),
        (("sum_sent",), []),
    ],
)
def test_sums_that_do_not_agree_are_refused(path: tuple[str, ...], value: object) -> None:
    document = json.loads(text("iperf3/client-ok.json"))
    place = document["end"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(CheckError):
        parse_client(ToolOutput(0, json.dumps(document), ""))


def test_another_protocol_is_refused() -> None:
    document = text("iperf3/client-ok.json").replace('"TCP"', '"UDP"')
    with pytest.raises(CheckError, match="is not TCP"):
        parse_client(ToolOutput(0, document, ""))


def test_nan_and_a_sum_that_is_there_twice_are_refused() -> None:
    document = text("iperf3/client-ok.json")
    for hostile in (
        document.replace('"bytes":\t2499870344', '"bytes":\tNaN'),
        document.replace('"sum_received":', '"sum_received": {}, "sum_received":'),
    ):
        assert hostile != document
        with pytest.raises(CheckError, match="no JSON"):
            parse_client(ToolOutput(0, hostile, ""))


def test_a_nonzero_exit_without_an_error_in_it_is_no_result() -> None:
    with pytest.raises(CheckError, match="exit 1"):
        parse_client(said("iperf3/client-ok.json", 1))


# ---------------------------------------------------------------- the client


def test_a_pair_that_is_fast_enough_passes() -> None:
    (finding,) = client([said("iperf3/client-bidir.json")], bandwidth="10")
    assert finding.outcome is Outcome.PASS
    assert finding.detail["result"] == "ok"
    told = {each.name: (each.unit, each.threshold is not None) for each in finding.measurements}
    assert told == {
        "send": ("Gb/s", True),
        "receive": ("Gb/s", True),
        "retransmits": ("count", False),
    }


def test_a_slow_direction_warns_and_does_not_accuse() -> None:
    (finding,) = client([said("iperf3/client-slow-bidir.json")], bandwidth="0.5")
    assert (finding.outcome, finding.detail["result"]) == (Outcome.WARN, "slow")
    assert "at least 0.5 (option iperf3-client.bandwidth)" in finding.message


def test_it_waits_for_a_server_that_does_not_listen_yet() -> None:
    refused, busy = said("iperf3/client-refused.json"), said("iperf3/client-busy.json")
    time = Time()
    (finding,) = client([refused, busy, refused, said("iperf3/client-ok.json")], time)
    assert finding.outcome is Outcome.PASS
    assert time.waited == [0.5, 0.5, 0.5]


def test_a_server_that_never_listens_is_an_error() -> None:
    time = Time()
    (finding,) = client([said("iperf3/client-refused.json")], time, wait="3")
    assert (finding.outcome, finding.detail["result"]) == (Outcome.ERROR, "refused")
    assert time.now_s <= 3


@pytest.mark.parametrize(
    "answer", [said("iperf3/client-timeout.json"), ToolTimeout("iperf3 did not end within 20 s")]
)
def test_nothing_comes_through_and_nobody_is_accused(answer: Answer) -> None:
    (finding,) = client([answer])
    assert (finding.outcome, finding.detail["result"]) == (Outcome.WARN, "unreachable")


@pytest.mark.parametrize(
    "options",
    [
        {"address": "-c"}, {"address": ""}, {"port": "0"}, {"port": "70000"}, {"seconds": "1e9"},
        {"parallel": "2.5"}, {"direction": "up"}, {"bind": "eth0"}, {"bandwidth": "fast"},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(CheckError, match=f"option {next(iter(options))}"):
        client([said("iperf3/client-ok.json")], None, **options)


def test_its_words_to_iperf3() -> None:
    its = context(
        {"iperf3": [said("iperf3/client-ok.json")]},
        options={"address": "fd00::2", "port": "5300", "seconds": "2", "bind": "fd00::1"},
    )
    run(Iperf3Client(), its)
    (call,) = its.tool.calls  # type: ignore[attr-defined]
    assert call[:6] == ("iperf3", "-J", "-c", "fd00::2", "-p", "5300")
    assert call[-3:] == ("--bidir", "-B", "fd00::1")


def test_a_threshold_of_the_controller_counts() -> None:
    node = NodeFacts("node-a", thresholds={"iperf3-client/bandwidth": 300.0})
    its = context(
        {"iperf3": [said("iperf3/client-ok.json")]}, node=node, options={"address": "10.9.0.2"}
    )
    assert run(Iperf3Client(), its)[0].outcome is Outcome.WARN


# ---------------------------------------------------------------- the server


def test_a_server_that_served_says_what_arrived() -> None:
    its = context({"iperf3": [said("iperf3/server-ok.json")]}, options={"address": "10.9.0.2"})
    (finding,) = run(Iperf3Server(), its)
    assert (finding.outcome, finding.measurements[0].unit) == (Outcome.PASS, "Gb/s")
    (call,) = its.tool.calls  # type: ignore[attr-defined]
    assert call[-2:] == ("-B", "10.9.0.2")
    assert "-1" in call


def test_nobody_came_is_no_pass() -> None:
    with pytest.raises(Skipped, match="no client came within 7 s"):
        run(Iperf3Server(), context({"iperf3": [ToolOutput(0, "", "")]}, options={"wait": "7"}))


def test_a_server_without_its_address_is_an_error() -> None:
    answer = said("iperf3/server-no-address.json", 1)
    with pytest.raises(CheckError, match="Cannot assign requested address"):
        run(Iperf3Server(), context({"iperf3": [answer]}))
