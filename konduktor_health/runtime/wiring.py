"""Which parts make up a controller? The one place that knows the concrete adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from konduktor_health.adapters.kube import (
    build_cluster,
    build_feed,
    build_lease,
    build_pods,
    shard,
)
from konduktor_health.adapters.lease import new_identity
from konduktor_health.adapters.loki import (
    LokiSource,
    build_coverage,
    build_sources,
    build_specs,
    literals_for,
)
from konduktor_health.adapters.probes import AgentHttp, build_agents
from konduktor_health.clock import Clock, SystemClock
from konduktor_health.model import Policy, PublishEvent
from konduktor_health.ports import Cluster, Leadership, Probes
from konduktor_health.runtime.agenda import Agenda
from konduktor_health.runtime.agent_report import AgentReport
from konduktor_health.runtime.agent_wiring import build_attesting, build_verifying, warn_of_unasked
from konduktor_health.runtime.agents_told import STATE_KEY, AgentsTold
from konduktor_health.runtime.allocatable import AllocatableGpus
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.autopilot_http import autopilot_server
from konduktor_health.runtime.beside import Beside
from konduktor_health.runtime.checkpoint import Checkpoint
from konduktor_health.runtime.controller import Controller
from konduktor_health.runtime.coverage import Observation
from konduktor_health.runtime.diagnoses import DiagnosisWatch
from konduktor_health.runtime.domains import DomainWatch
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.http import StatusServer
from konduktor_health.runtime.invasive_wiring import build_invasive, build_volume_check
from konduktor_health.runtime.loop import Loop
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.pod_news import PodTeller
from konduktor_health.runtime.probes import ProbeWatch
from konduktor_health.runtime.reboots import Reboots
from konduktor_health.runtime.report import Report
from konduktor_health.runtime.roll_call import RollCall
from konduktor_health.runtime.situation import Situation
from konduktor_health.runtime.sources import Sources
from konduktor_health.runtime.surges import SurgeWatch
from konduktor_health.runtime.tombstones import Tombstones
from konduktor_health.runtime.wired_rounds import build_rounds
from konduktor_health.settings import Settings
from parsers import tables
from parsers.decode import Decoder
from parsers.tables import Tables

if TYPE_CHECKING:
    from konduktor_health.runtime.policy import PolicyWatch
    from konduktor_health.runtime.rules import RulesWatch

STANDSTILL_S = 120.0  # a loop that has not turned for so long is not alive


def build(
    settings: Settings,
    *,
    dry_run: bool = False,
    emit: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    wake: threading.Event | None = None,
    clock: Clock | None = None,
    serve: bool = True,
    probes: Probes | None = None,
    accept_fake_backend: bool = False,
    agent_http: AgentHttp | None = None,
) -> Controller:
    """Wire a controller. ``probes``: who is asked about the nodes instead of the agents;
    ``accept_fake_backend``: agents that measure nothing are believed; ``agent_http``: how agents
    are reached, also on loopback. They are for a simulated cluster, and no setting gives them.
    Raises ConfigError for what can be seen to be wrong before
    starting."""
    clock = clock or SystemClock()
    stop, wake = stop or threading.Event(), wake or threading.Event()
    metrics = Metrics()
    rules = None
    if settings.rules_file is not None:
        from konduktor_health.runtime.rules import RulesWatch  # loads RE2

        rules = RulesWatch(settings.rules_file, clock=clock, metrics=metrics)
    read = tables.recorded() if rules is None else rules.tables
    watch, policy = _policy(settings, read, clock, metrics)
    warn_of_unasked(policy, settings)
    keys = settings.keys()
    http, cluster = build_cluster(settings, clock)
    fleet = Fleet(keys, clock.now_ns, wake.set, shard(settings), policy=policy)
    feed = build_feed(settings, http, fleet.keep, clock)
    feed.on_change(fleet.changed)
    lease = None if dry_run else build_lease(settings, http, clock, new_identity())
    if lease is not None:
        metrics.follow(lease.is_leader)
    from_loki = build_sources(settings, clock, stop, read)
    sources = Sources(
        from_loki,
        clock=clock,
        poll_interval_s=settings.reading.poll_interval_s,
        wake=wake,
    )
    callers = build_coverage(settings, clock, stop)
    observation = Observation(
        feed, clock=clock, policy=policy, counted={one.name for one in callers}, wake=wake.set
    )
    reboots = Reboots(fleet.boots, clock=clock, policy=policy)
    tombstones = Tombstones(feed, clock=clock, let_go=fleet.let_go, wake=wake.set)
    for follow in (reboots.changed, tombstones.changed):  # after the fleet
        feed.on_change(follow)
    agents = None
    if probes is None and settings.probes.enabled:
        agents = build_agents(
            settings,
            http,
            feed,
            clock,
            assert_leader=None if lease is None else lease.assert_leader,
            agents=agent_http,
            accept_fake=accept_fake_backend,
        )
        probes = agents.collector
    attesting = build_attesting(agents, clock, wake)
    rounds = build_rounds(settings, agents, feed, policy, clock)
    verifying = build_verifying(agents, feed, policy, clock, rounds, settings)
    if verifying is not None:
        feed.on_change(verifying.changed)
    allocatable = AllocatableGpus(clock=clock, keys=keys)
    feed.on_change(allocatable.changed)
    probe_watch = (
        None if probes is None else (ProbeWatch(probes, wake=wake.set, clock=clock, policy=policy))
    )
    diagnoses = (
        DiagnosisWatch(agents.collector, policy, wake=wake.set) if agents is not None else None
    )
    if rounds is not None and probe_watch is not None:
        rounds.findings.on_news(probe_watch.tell)
        probe_watch.add(rounds.findings.results)
    pairs = None if rounds is None else rounds.findings
    observer = Observer(
        feed,
        clock=clock,
        opted_out=fleet.is_opted_out,
        elsewhere=fleet.is_elsewhere,
        decoder=lambda: Decoder(read),
        read=read,
        observed=policy.observe.keys(),
        surge_window_s=policy.surge_window_s,
        observation=observation,
        reboots=reboots,
        tombstones=tombstones,
        beside=Beside(probe_watch, attesting, allocatable, diagnoses, pairs),
    )
    applier, teller = None, None
    if lease is not None:
        if settings.pod_events.enabled:
            teller = PodTeller(
                build_pods(settings, http),
                keys,
                clock=clock,
                metrics=metrics,
                assert_leader=lease.assert_leader,
            )
        applier = Applier(
            cluster,
            feed,
            clock=clock,
            stop=stop,
            on_write=fleet.wrote,
            on_edit=teller.take if teller else lambda _action: None,
            assert_leader=lease.assert_leader,
            writers=settings.cluster.writers,
        )
    tests = build_invasive(settings, http, agents, feed, applier, policy, clock, lease)
    if tests is not None:
        feed.on_change(tests.changed)
    volumes = build_volume_check(settings, http, cluster, clock, lease, metrics)
    checkpoint = Checkpoint(
        cluster,
        clock=clock,
        interval_s=settings.checkpoint_interval_s,
        assert_leader=lease.assert_leader if lease else lambda: None,
    )
    checkpoint.attach("observed", observation)
    checkpoint.attach("tombstones", tombstones)
    if rounds is not None:
        checkpoint.attach("rounds", rounds)
    if probes is not None:
        checkpoint.attach(STATE_KEY, AgentsTold(probes, feed.nodes))
    pods = {one.name for one in build_specs(settings) if one.pod}
    optional = {one.name or one.preset for one in settings.sources if one.optional} | pods
    told = agents.teller.counted if agents and agents.teller else dict
    agent_report = AgentReport(
        metrics, probe_watch, attesting, verifying, told, rounds=rounds, tests=tests
    )
    report = Report(metrics, emit=emit, optional=optional, pods=pods, agents=agent_report)
    by_name = {source.name: source for source in from_loki}
    roll_call = RollCall(
        callers,
        feed,
        clock=clock,
        interval_s=settings.reading.coverage_interval_s,
        bytes_per_minute=settings.reading.bytes_per_minute,
        deliver=observation.deliver,
        charge=lambda name, scanned: by_name[name].charge(scanned),
        on_failure=lambda name: metrics.roll_call_failures.labels(name).inc(),
    )
    loop = Loop(
        sources=sources,
        situation=Situation(
            feed,
            fleet,
            observer,
            policy,
            clock,
            _surges(clock, cluster, checkpoint, lease),
            DomainWatch(metrics),
            observation,
            tombstones,
            probe_watch,
            attesting=attesting,
            diagnoses=diagnoses,
            pairs=pairs,
        ),
        fleet=fleet,
        observer=observer,
        applier=applier,
        checkpoint=None if dry_run else checkpoint,
        report=report,
        clock=clock,
        wake=wake,
        agenda=Agenda(clock),
        files=tuple(each for each in (rules, watch) if each is not None),
        followers=tuple(
            part for part in (probe_watch, verifying, diagnoses, rounds, tests) if part is not None
        ),
    )
    if watch is not None:
        watch.on_change(partial(_decide_by, loop, rules=rules))
    if lease is not None:
        loop.not_lost = lease.assert_not_lost
    if rules is not None:
        rules.on_change(partial(_use, settings, loop, from_loki, watch=watch))
    controller = Controller(
        settings=settings,
        clock=clock,
        stop=stop,
        wake=wake,
        cluster=cluster,
        feed=feed,
        fleet=fleet,
        observer=observer,
        sources=sources,
        applier=applier,
        checkpoint=checkpoint,
        report=report,
        loop=loop,
        lease=lease,
        teller=teller,
        roll_call=roll_call,
        probes=probe_watch,
        aside=tuple(
            part
            for part in (
                agents.signing if agents else None,
                attesting,
                verifying,
                rounds,
                tests,
                volumes,
            )
            if part is not None
        ),
    )
    if serve and settings.http.enabled:
        controller.status = StatusServer(
            report.metrics,
            alive=lambda: loop.alive(STANDSTILL_S),
            troubles=controller.troubles,
            host=settings.http.host,
            port=settings.http.port,
        )
    if serve and settings.autopilot.enabled:
        controller.autopilot = autopilot_server(
            settings,
            http,
            feed,
            agents,
            clock,
            metrics,
            lease,
            volumes=volumes,
            test=None if tests is None else tests.ask,
        )
    return controller


def _surges(
    clock: Clock, cluster: Cluster, checkpoint: Checkpoint, lease: Leadership | None
) -> SurgeWatch:
    """In a dry run nothing is told, stored or asked."""
    if lease is None:
        return SurgeWatch(clock)

    def tell(event: PublishEvent) -> None:
        lease.assert_leader()
        cluster.publish_event(event, clock.now_ns())

    def asked() -> str | None:
        request = cluster.read_request()
        return None if request is None else request.text

    return SurgeWatch(clock, tell=tell, store=checkpoint.keep, asked=asked)


def _policy(
    settings: Settings, read: Tables, clock: Clock, metrics: Metrics
) -> tuple[PolicyWatch | None, Policy]:
    """Who looks at the policy file, if there is one, and the policy to begin with. Raises
    ConfigError for a wrong file."""
    if settings.policy_file is None:
        return None, settings.core_policy(read)
    from konduktor_health.adapters.policy_file import reader_for
    from konduktor_health.runtime.policy import PolicyWatch

    watch = PolicyWatch(
        settings.policy_file, reader_for(settings, read), clock=clock, metrics=metrics
    )
    return watch, watch.said


def _decide_by(loop: Loop, policy: Policy, rules: RulesWatch | None = None) -> None:
    """Swap the policy of a running controller; what is on the Nodes is decided again. Rules that
    were refused for what the policy named before are looked at again."""
    loop.situation = replace(loop.situation, policy=policy)
    loop.observer.judge_by(policy)
    loop.fleet.use(policy)
    for part in loop.followers:
        part.use(policy)
    loop.agenda.add(loop.situation.recorded())
    if rules is not None:
        rules.retry()


def _use(
    settings: Settings,
    loop: Loop,
    sources: Sequence[LokiSource],
    read: Tables,
    watch: PolicyWatch | None = None,
) -> None:
    """Swap the tables of a running controller: decoders first, so that no line that is read for
    a new rule is decoded by the old ones. Raises ConfigError, before anything is changed, when
    the settings or the policy file name a fault that these tables do not have."""
    policy = settings.core_policy(read)
    if watch is not None:
        policy = watch.remade(policy, read)
    loop.observer.use(read, policy.observe.keys())
    _decide_by(loop, policy)
    for source in sources:
        source.ask_for(literals_for(source.spec, read))
