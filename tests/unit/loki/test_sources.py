"""What presets, gaps, node names and history promise."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.loki.build import build_sources, build_specs
from konduktor_health.adapters.loki.entries import entry_of, identity, node_name
from konduktor_health.adapters.loki.gaps import GapBook, from_json, to_json
from konduktor_health.adapters.loki.history import history
from konduktor_health.adapters.loki.memory import Seen
from konduktor_health.adapters.loki.presets import SourceSpec, for_cluster, spec
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ConfigError
from konduktor_health.model import Trust
from konduktor_health.ports import Gap
from konduktor_health.settings import ReadingSettings, Settings, SourceSettings
from parsers.record import LogRecord
from tests.support.memory_loki import MemoryLoki, line

SPEC = SourceSpec("s", '{job="kmsg"}', ("metadata:node",), Trust.KERNEL)


@pytest.mark.parametrize(
    ("source", "selector", "trust", "pod"),
    [
        (
            {"preset": "konduktor-otel"},
            '{k8s_namespace_name="dmesg-logging", k8s_daemonset_name="dmesg"}',
            Trust.KERNEL,
            False,
        ),
        ({"preset": "promtail-journal"}, '{job="systemd-journal"}', Trust.KERNEL, False),
        ({"preset": "kmsg"}, '{job="konduktor-kmsg"}', Trust.KERNEL, False),
        ({"preset": "pods"}, '{k8s_namespace_name=~"a-1|b"}', Trust.POD, True),
        (
            {
                "preset": "konduktor-otel",
                "selector": '{k8s_namespace_name="logs",k8s_daemonset_name="d"}',
            },
            '{k8s_namespace_name="logs", k8s_daemonset_name="d"}',
            Trust.KERNEL,
            False,
        ),
        ({"selector": '{job="x"}', "trust": "kernel"}, '{job="x"}', Trust.KERNEL, False),
        ({"selector": '{job="x"}', "pod": True}, '{job="x"}', Trust.POD, True),
    ],
)
def test_presets_are_complete(
    source: dict[str, Any], selector: str, trust: Trust, pod: bool
) -> None:
    found = spec(SourceSettings(**source), ["b", "a-1"])
    assert (found.selector, found.trust, found.pod) == (selector, trust, pod)
    assert found.node_from


@pytest.mark.parametrize(
    "source",
    [
        {"preset": "custom"},
        {"preset": "custom", "selector": '{job="x"}'},
        {"preset": "konduktor-otel", "selector": '{job="x"}'},
        {"preset": "konduktor-otel", "selector": '{k8s_daemonset_name="dmesg"}'},
        {"preset": "pods", "trust": "kernel"},
        {"preset": "kmsg", "trust": "attested"},
        {"preset": "kmsg", "node_from": ["hostname"]},
        {"preset": "kmsg", "node_from": ["label:a-b"]},
        {"preset": "custom", "selector": "job", "trust": "pod"},
    ],
)
def test_settings_that_trust_would_rest_on_a_guess_are_refused(source: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        spec(SourceSettings(**source), ["default"])


@pytest.mark.parametrize("namespaces", [[], ["a|b"], ['x"} or {a="b'], [".*"]])
def test_only_names_of_namespaces_reach_the_query(namespaces: list[str]) -> None:
    with pytest.raises(ConfigError):
        spec(SourceSettings(preset="pods"), namespaces)


def test_the_cluster_narrows_the_selector() -> None:
    assert for_cluster(SPEC, ReadingSettings()).selector == '{job="kmsg"}'
    assert for_cluster(SPEC, ReadingSettings(cluster="c")).selector == '{job="kmsg", cluster="c"}'


def test_the_settings_give_their_sources_and_the_watched_pods() -> None:
    assert [one.name for one in build_specs(Settings())] == ["konduktor-otel", "kmsg", "pods"]
    assert [one.name for one in build_specs(Settings(watched_namespaces=()))] == [
        "konduktor-otel",
        "kmsg",
    ]
    sources = build_sources(Settings(), SystemClock(), threading.Event())
    assert [source.name for source in sources] == ["konduktor-otel", "kmsg", "pods"]
    with pytest.raises(ConfigError, match="named kmsg"):
        build_specs(Settings(sources=(SourceSettings(preset="kmsg"),) * 2))


# ---------------------------------------------------------------- entries


@pytest.mark.parametrize(
    ("rules", "node"),
    [
        (("label:a",), "from-label"),
        (("metadata:b",), "from-metadata"),
        (("label:b", "metadata:a", "record"), "from-record"),
        (("json:kubernetes.host",), "from-json"),
        (("json:a.b",), "dotted"),
        (("json:list",), ""),
        (("label:none", "json:none.none"), ""),
        (("label:long", "label:a"), "from-label"),
        (("label:odd",), ""),
    ],
)
def test_the_node_name_is_the_first_that_the_rules_find(rules: tuple[str, ...], node: str) -> None:
    text = '{"kubernetes": {"host": "from-json"}, "a.b": "dotted", "list": [1]}'
    labels = {"a": "from-label", "long": "x" * 300, "odd": "a\nb"}
    found = node_name(
        line(1, text, labels, b="from-metadata"), LogRecord(text, hostname="from-record"), rules
    )
    assert found == node


@given(st.text())
def test_no_line_breaks_an_entry(text: str) -> None:
    def broken(text: str) -> LogRecord:
        raise RuntimeError(text)

    entry = entry_of(line(1, text), SourceSpec("s", "{}", ("json:a.b",), Trust.POD), broken)
    assert entry.record.text == text
    assert len(entry.identity) == 32


def test_identity_is_the_stamp_where_there_is_one_and_the_time_else() -> None:
    stamped = LogRecord("text", uptime_stamp="7.5", boot_id="b")
    assert identity("n", 1, stamped) == identity("n", 2, stamped)
    plain = LogRecord("text")
    assert identity("n", 1, plain) != identity("n", 2, plain)
    different = {
        identity("n", 1, stamped),
        identity("m", 1, stamped),
        identity("n", 1, LogRecord("text", uptime_stamp="7.5")),
        identity("n", 1, LogRecord("text2", uptime_stamp="7.5", boot_id="b")),
        identity("n", 1, LogRecord("text", uptime_stamp="7.50", boot_id="b")),
        identity("nb", 1, LogRecord("text", uptime_stamp="7.5")),
    }
    assert len(different) == 6


def test_what_was_seen_is_bounded_and_the_oldest_goes_first() -> None:
    seen = Seen(most=80)
    names = [f"{number:032x}" for number in range(1000)]
    for number, name in enumerate(names):
        assert seen.add(name, number)
        assert not seen.add(name, number)
        assert len(seen) <= 80
    assert not seen.add(names[940], 0)
    assert seen.add(names[0], 0)


def test_what_is_before_the_horizon_is_forgotten() -> None:
    seen = Seen()
    seen.add("aa", 100)
    seen.forget_before(100, 0)
    assert not seen.add("aa", 100)
    seen.forget_before(101, 0)
    assert len(seen) == 0
    assert seen.add("aa", 100)


def test_history_lists_the_past_once_and_in_order() -> None:
    loki = MemoryLoki(3)
    loki.put(*(line(i // 4, f"Xid {i}", node="n") for i in range(20)), line(3, "heartbeat"))

    def unwrap(text: str) -> LogRecord:
        return LogRecord(text, heartbeat=text == "heartbeat")

    found = list(history(loki, SPEC, 1, 4, literals=["Xid", "heart"], unwrap=unwrap))
    assert sorted(entry.record.text for entry in found) == sorted(f"Xid {i}" for i in range(4, 16))
    times = [entry.time_ns for entry in found]
    assert times == sorted(times)


# ---------------------------------------------------------------- gaps

spans = st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(st.tuples(st.sampled_from(["open", "cover", "config"]), spans), max_size=40))
def test_gaps_hold_exactly_what_was_opened_and_not_covered(
    steps: list[tuple[str, tuple[int, int]]],
) -> None:
    book = GapBook()
    missing: set[int] = set()
    for step, (start_ns, end_ns) in steps:
        if step == "cover":
            book.cover(start_ns, end_ns)
            missing -= set(range(start_ns, end_ns))
        else:
            book.open(start_ns, end_ns, "config" if step == "config" else "unavailable")
            missing |= set(range(start_ns, end_ns))
    assert {t for gap in book.gaps for t in range(gap.start_ns, gap.end_ns)} == missing
    assert tuple(from_json({"gaps": to_json(book.gaps)})) == book.gaps


@given(st.lists(spans, max_size=40))
def test_too_many_gaps_are_joined_and_none_is_lost(found: list[tuple[int, int]]) -> None:
    book = GapBook(limit=3)
    for start_ns, end_ns in found:
        book.open(start_ns, end_ns, "unavailable")
    assert len(book.gaps) <= 3
    covered = {t for gap in book.gaps for t in range(gap.start_ns, gap.end_ns)}
    assert {t for start_ns, end_ns in found for t in range(start_ns, end_ns)} <= covered


def test_a_gap_that_is_given_up_stays_until_it_is_forgotten() -> None:
    book = GapBook([Gap(0, 10, "unavailable"), Gap(20, 21, "limit_saturated")])
    book.give_up(5, "too_old")
    book.cover(0, 100)
    assert book.gaps == (Gap(0, 5, "too_old", permanent=True),)
    book.forget(6)
    assert not book.gaps
