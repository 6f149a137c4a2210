"""The story of the probes: each kind of fault is measured, taints, is mended, and proven over.

Several nodes play at once, each act by act: faults are injected into the fake GPUs of a node, its
agent measures them, each becomes a record whose evidence ``explain`` tells, the node is tainted;
then they are taken away, clean rounds follow, and the taint goes. On one more node a GPU hangs,
which accuses nobody, and the nodes without an agent have no part in any of it.

What does not show in time, or not as it should, raises TransientError: the story is a check too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

from pydantic import TypeAdapter

from konduktor_health.adapters.kube import build_cluster
from konduktor_health.clock import Clock
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.record import Record
from konduktor_health.core.reset import our_taints
from konduktor_health.errors import TransientError
from konduktor_health.model import NodeView
from konduktor_health.sandbox.agents import LocalAgent, LocalAgents
from konduktor_health.sandbox.cluster import Sandbox
from konduktor_health.sandbox.probe_scenes import (
    GPUS,
    HANGING,
    OPTIONS,
    PARTS,
    ROUNDS,
    Act,
    Part,
    Scene,
)
from konduktor_health.sandbox.story import Interrupted
from konduktor_health.timestamps import rfc3339
from konduktor_health.treatment import PROBE_FAULT, Effect
from probes.report import Result

STEP_TIMEOUT_S = 60.0
_PAUSE_S = 0.1
_ASK_S = 1.0  # between two questions to an agent, which refuses whoever asks without end
_RESULTS = TypeAdapter(tuple[Result, ...])


def sandbox_for(nodes: int, clock: Clock) -> Sandbox:
    """A sandbox with the agents of this story, and one node more at least."""
    parts = (*PARTS, HANGING)
    return Sandbox(
        nodes=max(nodes, len(parts) + 1),
        clock=clock,
        measured={part.node: part.cadences for part in parts},
        agent_options=OPTIONS,
        fake={part.node: part.fake for part in parts},
    )


class ProbeStory:
    """Plays on a started sandbox of ``sandbox_for`` whose controller runs.

    ``say`` prints one line, ``explain`` is what ``konduktor-health explain NODE`` prints; once
    ``stop`` is set, the next wait raises Interrupted.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        agents: LocalAgents,
        *,
        say: Callable[[str], None],
        explain: Callable[[str], str],
        stop: threading.Event,
    ) -> None:
        self._sandbox = sandbox
        self._agents = agents
        self._say = say
        self._explain = explain
        self._stop = stop
        settings = sandbox.settings()
        _, self._cluster = build_cluster(settings, sandbox.clock)
        self._keys = settings.keys()
        self._clock = sandbox.clock

    def play(self) -> None:
        """All parts at once; then that all is as it was before."""
        scripts = [self._part(part) for part in PARTS] + [self._hang(HANGING.node)]
        while scripts:
            scripts = [each for each in scripts if next(each, self) is not self]
            if self._clock.wait(self._stop, _PAUSE_S):
                raise Interrupted
        others = sorted(set(self._sandbox.names()) - self._agents.of.keys())
        for name in (*others, HANGING.node):
            self._check_untouched(name)
        self._say(f"never accused: {', '.join(others)} (no agent) and {HANGING.node} (a hang)")

    # ------------------------------------------------------------ scripts: each yields to wait

    def _part(self, part: Part) -> Iterator[None]:
        yield from self._measured_well(part.node)
        for act in part.acts:
            yield from self._act(part.node, act)

    def _measured_well(self, node: str) -> Iterator[None]:
        """Counters are judged by their growth: there has to be a run to compare with."""
        agent = self._agents.of[node]
        yield from self._until(node, "measured", self._now_and_then(lambda: _has_run(agent)))

    def _act(self, node: str, act: Act) -> Iterator[None]:
        started_s = self._clock.monotonic()
        self._say(f"{node}: {act.title}")
        for scene in act.scenes:
            self._agents.inject(node, {scene.gpu: scene.faults})
            told = ", ".join(f"{name}={json.dumps(value)}" for name, value in scene.faults.items())
            self._say(f"    inject     {scene.gpu}: {told}")
        yield from self._until(node, "tainted", lambda: self._shows(node, act))
        self._say(f"{node} is tainted ({self._clock.monotonic() - started_s:.1f} s)")
        self._tell(node, act)
        yield from self._mend(node, act)

    def _mend(self, node: str, act: Act) -> Iterator[None]:
        started_s, since_ns = self._clock.monotonic(), self._clock.now_ns()
        self._agents.clear(node)
        self._say(f"{node}: all of it is mended; {ROUNDS} clean rounds of each check are awaited")
        yield from self._until(node, "schedulable again", lambda: self._is_well(node))
        self._say(f"{node} is schedulable again ({self._clock.monotonic() - started_s:.1f} s)")
        scene = act.scenes[-1]
        rounds = self._rounds(node, scene, since_ns)
        if len(rounds) < ROUNDS:
            raise TransientError(f"{node} was cleared after {len(rounds)} rounds of {scene.check}")
        times = ", ".join(rfc3339(each)[11:19] for each in rounds[:ROUNDS])
        self._say(f"    rounds     {scene.check} passed at {times}")

    def _hang(self, node: str) -> Iterator[None]:
        """A GPU that does not answer: a time-out is told, and accuses nobody."""
        yield from self._measured_well(node)
        agent = self._agents.of[node]
        self._agents.inject(node, {GPUS[3]: {"hang": True}})
        self._say(f"{node}: a GPU hangs\n    inject     {GPUS[3]}: hang=true")
        began_s = self._clock.monotonic()
        seldom = self._now_and_then
        stale = seldom(lambda: self._agent_told(node).startswith("stale"))
        yield from self._until(node, "unobserved", stale, node)
        self._say(f"{node} is not observed by probes ({self._clock.monotonic() - began_s:.1f} s)")
        self._say(f"    $ konduktor-health explain {node}")
        self._say(f"    agent      {self._agent_told(node)}")
        hanging = agent.children()
        killed = seldom(lambda: not agent.children() & hanging)
        yield from self._until(node, "rid of the check that hangs", killed, node)
        self._agents.clear(node)
        self._say(f"{node}: the check that hung was ended; now the GPU answers again")
        yield from self._until(node, "measured", seldom(lambda: bool(_late(agent))), node)
        late = _late(agent)[0]
        self._say(f"    {late.outcome}    {late.check}: {late.message}")
        well = seldom(lambda: not self._agent_told(node))
        yield from self._until(node, "observed again", well, node)
        self._say(f"{node} is observed again ({self._clock.monotonic() - began_s:.1f} s)")

    def _now_and_then(self, ask: Callable[[], bool]) -> Callable[[], bool]:
        """Asked at most once in ``_ASK_S``; what cannot be answered now is not so yet."""
        next_s = 0.0

        def asked() -> bool:
            nonlocal next_s
            if self._clock.monotonic() < next_s:
                return False
            next_s = self._clock.monotonic() + _ASK_S
            try:
                return ask()
            except OSError:
                return False

        return asked

    def _until(
        self, node: str, what: str, seen: Callable[[], bool], untouched: str = ""
    ) -> Iterator[None]:
        """Until that is seen. ``untouched``: a node that has to stay as it is meanwhile."""
        started_s = self._clock.monotonic()
        while not seen():
            if untouched:
                self._check_untouched(untouched)
            if self._clock.monotonic() - started_s > STEP_TIMEOUT_S:
                raise TransientError(
                    f"{node} was not {what} within {STEP_TIMEOUT_S:.0f} s: {self._waits(node)}",
                    hint="run the demo with --debug to see what the controller does",
                )
            yield

    # ------------------------------------------------------------ what is seen

    def _shows(self, node: str, act: Act) -> bool:
        """The taint, and a record for each fault."""
        view = self._cluster.get_node(node)
        effect = Effect.NO_SCHEDULE if act.is_fatal else Effect.PREFER_NO_SCHEDULE
        effects = {taint.effect for taint in our_taints(view, self._keys)}
        acting = {record.key for record in _records(view) if record.effect}
        return effects == {effect.value} and all(each.key in acting for each in act.scenes)

    def _tell(self, node: str, act: Act) -> None:
        """What ``explain`` says of each. Raises TransientError for what it does not say."""
        told = self._explain(node)
        for taint in our_taints(self._cluster.get_node(node), self._keys):
            self._say(f"    taint      {taint.key}={taint.value}:{taint.effect}")
        self._say(f"    $ konduktor-health explain {node}")
        for scene in act.scenes:
            device, fault_id = scene.key
            where = f"on {device or 'the node'}"
            rows = _rows_of(told, f"{fault_id}  {where}")
            severity, evidence = rows.get("severity", ""), rows.get("evidence", "")
            lacks = [each for each in scene.words if each not in evidence]
            if severity != scene.severity.value or lacks:
                raise TransientError(
                    f"{node}: explain says of {fault_id} {where}: {severity or 'nothing'},"
                    f" {evidence!r}; wanted: {scene.severity.value}, {scene.words}"
                )
            self._say(f"    {fault_id} {where}, {severity}")
            self._say(f"      evidence {evidence}")

    def _is_well(self, node: str) -> bool:
        view = self._cluster.get_node(node)
        return not our_taints(view, self._keys) and not _records(view)

    def _rounds(self, node: str, scene: Scene, since_ns: int) -> list[int]:
        """When a check passed on the device since then, by the agent's own history, Unix ns."""
        path = f"/v1/history?check={scene.check}&limit=200"
        found = _RESULTS.validate_json(self._agents.of[node].ask(path))
        device = scene.key[0]
        here = [each for each in found if each.device == device and each.ended_ns > since_ns]
        return sorted({each.ended_ns for each in here if each.outcome == "pass"})

    def _agent_told(self, node: str) -> str:
        """What ``explain`` says of the node's agent; nothing while it is well."""
        return _rows_of("\n" + self._explain(node), f"{node}  healthy").get("agent", "")

    def _check_untouched(self, node: str) -> None:
        view = self._cluster.get_node(node)
        if view.taints or view.health_label or _records(view):
            raise TransientError(f"{node} was accused: {self._waits(node)}")

    def _waits(self, node: str) -> str:
        view = self._cluster.get_node(node)
        records = ", ".join(
            f"{each.fault_id} on {each.device or 'the node'} (missing:"
            f" {', '.join(one.what for one in each.missing) or 'nothing'})"
            for each in _records(view)
        )
        effects = ", ".join(taint.effect for taint in view.taints)
        return f"taints {effects or 'none'}; records {records or 'none'}"


def _records(view: NodeView) -> tuple[Record, ...]:
    """What checks have found and is open."""
    records = read_ledger(view)[0].records
    return tuple(each for each in records if each.fault_id.startswith(PROBE_FAULT))


def _rows_of(told: str, heading: str) -> dict[str, str]:
    """Rows of a section of what ``explain`` prints; of a row that goes on, its first line."""
    section = told.partition(f"\n{heading}\n")[2].partition("\n\n")[0]
    rows = (line.partition("  ") for line in section.splitlines())
    return {name: text.strip() for name, _, text in rows if name}


def _has_run(agent: LocalAgent) -> bool:
    """A run of each cadence that it has is over."""
    wanted = {name for name in ("light", "hourly", "invasive") if getattr(agent.cadences, name)}
    return wanted <= {run.cadence for run in agent.report().runs}


def _late(agent: LocalAgent) -> list[Result]:
    """What timed out in the runs that it tells."""
    return [
        each for run in agent.report().runs for each in run.results if each.outcome == "timeout"
    ]
