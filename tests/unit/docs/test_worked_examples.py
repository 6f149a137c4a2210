"""The worked examples of docs/design/decide.md, played. Each test has the title of its example."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import Ledger, open_record, render
from konduktor_health.core.reset import ResetAt, plan_reset, render_reset_at
from konduktor_health.model import Hold, HoldReason, NodeView, PublishEvent, Remedy
from konduktor_health.timestamps import NS
from tests.support.builders import (
    BOOT,
    KEYS,
    NOW,
    OTHER_BOOT,
    OUR_TAINT,
    after,
    edited,
    edits,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)

DOCS = Path(__file__).parents[3] / "docs"
MINUTE = 60 * NS
UPTIME = 5_000_000_000  # microseconds, at NOW


def seen(at_ns: int = NOW, fault_id: str = "xid/79", **more: Any) -> Any:
    """A fault of that time, with the uptime that belongs to it."""
    fields: dict[str, Any] = {
        "time_ns": at_ns,
        "event_ns": at_ns,
        "uptime_us": UPTIME + (at_ns - NOW) // 1000,
        "identity": f"{fault_id}-{at_ns}",
    }
    return sighting(fault(fault_id, **(fields | more)))


def step(view: NodeView, *sightings: Any, now_ns: int, **fleet: Any) -> tuple[NodeView, set[Any]]:
    """The node after one decision, and the reasons of its holds."""
    plan = decide(snapshot([view], {view.name: sightings}, **fleet), policy(), now_ns)
    return after(view, plan), {each.reason for each in plan.actions if isinstance(each, Hold)}


def is_tainted(view: NodeView) -> bool:
    return OUR_TAINT in view.taints


def tainted(now_ns: int = NOW) -> NodeView:
    return step(node(), seen(now_ns), now_ns=now_ns)[0]


def reset(view: NodeView, now_ns: int) -> NodeView:
    action = plan_reset(view, KEYS, now_ns)
    assert action is not None
    return edited(view, action)


def test_every_example_is_played() -> None:
    page = (DOCS / "design/decide.md").read_text().split("## Worked examples")[1]
    titles = re.findall(r"^\*\*(.+?)\.\*\*", page, re.M)
    played = {name[len("test_") :] for name in globals() if name.startswith("test_")}
    shown_elsewhere = {"two_writers"}  # tests/unit/runtime, tests/component
    for title in titles:
        assert re.sub(r"\W+", "_", title.lower()) in played | shown_elsewhere, title


def test_two_faults_one_place() -> None:
    first = step(node("c"), seen(), now_ns=NOW, managed=8)[0]
    assert is_tainted(first)
    second, holds = step(node("e"), seen(fault_id="xid/48"), now_ns=NOW, managed=8, tainted=1)
    assert (is_tainted(second), holds) == (False, {HoldReason.BUDGET})
    assert second.health_label == "faulty"
    assert is_tainted(step(second, now_ns=NOW + MINUTE, managed=8, tainted=0)[0])


def test_killed_between_taint_and_event() -> None:
    plan = decide(snapshot([node()], {"gpu-1": [seen()]}), policy(), NOW)
    patched = edited(node(), edits(plan)[0])
    again = decide(snapshot([patched], {"gpu-1": [seen()]}), policy(), NOW + MINUTE)
    assert edits(again) == []
    assert [each.reason for each in again.actions if isinstance(each, PublishEvent)] == [
        "FatalFault"
    ]


def test_removed_by_hand_while_a_fault_repeats() -> None:
    removed = replace(tainted(), taints=())
    view, holds = step(removed, now_ns=NOW + 5 * MINUTE)
    assert (is_tainted(view), holds) == (False, {HoldReason.TAINT_REMOVED})
    assert view.health_label == "suspect"
    view, _ = step(view, seen(NOW + 4 * MINUTE), now_ns=NOW + 5 * MINUTE + NS)
    assert not is_tainted(view)
    assert is_tainted(step(view, seen(NOW + 6 * MINUTE), now_ns=NOW + 6 * MINUTE)[0])


def test_reset_then_a_late_line() -> None:
    view = reset(tainted(), NOW + 10 * MINUTE)
    late = NOW + 11 * MINUTE
    dropped, holds = step(view, seen(NOW - 10 * NS), now_ns=late)
    assert (dropped.ledger, holds) == (None, {HoldReason.BEFORE_RESET})
    shown, holds = step(view, seen(NOW - 5 * NS, device="0000:86:00"), now_ns=late)
    assert shown.ledger is not None
    assert (is_tainted(shown), holds) == (False, {HoldReason.BEFORE_RESET})
    assert is_tainted(step(view, seen(NOW + 12 * MINUTE), now_ns=NOW + 12 * MINUTE)[0])


def test_a_second_reset_then_a_new_leader() -> None:
    first = reset(tainted(), NOW + MINUTE)
    other, _ = step(first, seen(NOW + 8 * MINUTE, "xid/95"), now_ns=NOW + 8 * MINUTE)
    view = reset(other, NOW + 10 * MINUTE)
    late = NOW + 11 * MINUTE
    dropped, holds = step(view, seen(NOW - 10 * NS), now_ns=late)
    assert (dropped.ledger, holds) == (None, {HoldReason.BEFORE_RESET})
    shown, holds = step(view, seen(NOW + 200 * NS), now_ns=late)
    assert shown.ledger is not None
    assert (is_tainted(shown), holds) == (False, {HoldReason.BEFORE_RESET})


def test_reboot_then_a_replayed_ring() -> None:
    rebooted = node(boot_id=OTHER_BOOT)
    times = {"boot_changed_ns": {"gpu-1": NOW}, "boot_noticed_ns": {"gpu-1": NOW + MINUTE}}
    later = NOW + 2 * MINUTE
    for replayed in (seen(boot_id=BOOT), seen()):
        view, holds = step(rebooted, replayed, now_ns=later, **times)
        assert (view.ledger, holds) == (None, {HoldReason.BEFORE_RESET})
    not_mended = seen(boot_id=BOOT, remedy=Remedy.INSPECT)
    view, _ = step(rebooted, not_mended, now_ns=later, **times)
    assert view.ledger is not None
    assert not is_tainted(view)
    neither = seen(later, uptime_us=None)
    view, holds = step(rebooted, neither, now_ns=later, **times)
    assert (is_tainted(view), holds) == (False, {HoldReason.NO_IDENTITY})


def test_the_log_is_faster_than_the_kubelet() -> None:
    view, holds = step(node(), seen(boot_id=OTHER_BOOT), now_ns=NOW)
    assert (is_tainted(view), holds) == (False, {HoldReason.BOOT_UNKNOWN})
    assert is_tainted(step(replace(view, boot_id=OTHER_BOOT), now_ns=NOW + NS)[0])


def test_a_switch_fails() -> None:
    showing = {f"gpu-{n}": NOW for n in range(5)}
    surging: dict[str, Any] = {"managed": 8, "tainted": 1, "fatal_sightings": {"xid/74": showing}}
    view, holds = step(node(), seen(fault_id="xid/74"), now_ns=NOW, **surging)
    assert (view, holds) == (node(), {HoldReason.SURGE})
    wide = surging | {"managed": 80}
    assert is_tainted(step(node(), seen(fault_id="xid/74"), seen(), now_ns=NOW, **wide)[0])


def test_every_field_of_the_ledger_and_of_reset_at_is_documented() -> None:
    page = (DOCS / "reference/keys.md").read_text()
    ledger = Ledger(
        uid="u", boot_id=BOOT, tainted_ns=1, removed_ns=1, dropped=1, rebooted_ns=1, noticed_ns=1,
        records=(open_record(seen(injected=True), BOOT, acting=False, why="x"),),
    )  # fmt: skip
    written = json.loads(render(ledger))
    reset_at = ResetAt(NOW, BOOT, 1, NOW, ("xid/79|",))
    mark = json.loads(render_reset_at(replace(reset_at, earlier=(reset_at,))))
    for field in [*written, *written["records"][0], *mark]:
        assert f"`{field}`" in page, field
