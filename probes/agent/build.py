"""What is an agent made of?"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fastapi import FastAPI

from probes.agent import api
from probes.agent.agent import Agent
from probes.agent.attest import Attestor
from probes.agent.autopilot import AutopilotGauge
from probes.agent.board import Board, Identity
from probes.agent.boots import boot_id
from probes.agent.chores import Chores
from probes.agent.clocks import Clock
from probes.agent.connections import PatientConnection
from probes.agent.delivered import Deliveries
from probes.agent.files import StateDir
from probes.agent.history import History
from probes.agent.intake import Intake
from probes.agent.kernellog import KernelLog
from probes.agent.keys import PublicKeys
from probes.agent.limits import RateLimits
from probes.agent.listing import Listing
from probes.agent.log import Log
from probes.agent.memory import Memory
from probes.agent.metrics import CONTENT_TYPE, Metrics
from probes.agent.nonces import Nonces
from probes.agent.options import Options
from probes.agent.orders import Orders
from probes.agent.requests import Requests
from probes.agent.running import Runner
from probes.agent.schedule import Schedule
from probes.agent.server import Server, listen
from probes.agent.signatures import Signatures
from probes.agent.troubles import Health
from probes.agent.worker import Plan, Worker
from probes.autopilot import http as autopilot_http
from probes.autopilot.asking import Asking
from probes.check import CheckSpec
from probes.kmsg.ring import KmsgDevice, Ring, RingCursor, RingError
from probes.report import Run, settings_digest

_LOCK_WAIT_S = 15.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an agent works with, and tests give their own of."""

    runner: Runner
    clock: Clock
    log: Log
    #: Checks that are stuck after a run.
    stuck: Callable[[], Collection[str]] = tuple
    #: None: the kernel log of the options.
    open_ring: Callable[[], Ring] | None = None


class Made:
    """The parts of an agent that others have to do with. Raises StateError, BootIdError."""

    def __init__(
        self, options: Options, specs: tuple[CheckSpec, ...], around: Surroundings
    ) -> None:
        clock, log = around.clock, around.log
        names = tuple(spec.name for spec in specs)
        boot = boot_id(options.root)
        self.state = state = StateDir(options.state, log, wait_s=_LOCK_WAIT_S)
        self.board = board = Board(Identity(options.node, boot, options.version, clock.now_ns()))
        self.metrics = metrics = Metrics(
            version=options.version, checks=names, told=lambda: board.told
        )
        counted: list[Callable[[Run], None]] = [metrics.count]
        history = History(
            state, clock, log, most_bytes=options.history_bytes, most_age_s=options.history_age_s
        )
        intake = Intake(history, board, log, counted=counted)
        before = intake.load(boot, around.stuck())
        if options.compat_autopilot:
            gauge = AutopilotGauge(options.node, options.root)
            metrics.registry.register(gauge)
            counted.append(gauge.take)
            for run in before:
                gauge.take(run)
        memory = _memory(state, log, names, board, options.node)
        requests = Requests(known=(run.run_id for run in before))
        attestor = _attestor(options, around, boot)

        def busy() -> Collection[str]:
            return board.told.busy(clock.now_ns())

        self.worker = worker = Worker(
            Plan(
                node=options.node,
                boot_id=boot,
                root=options.root,
                specs=specs,
                options=options.check_options,
                boot_checks=options.boot_checks,
            ),
            around.runner,
            Schedule(
                options.intervals,
                node=options.node,
                now=clock.monotonic(),
                known={run.cadence for run in before},
                patient=("invasive",),
            ),
            requests,
            memory,
            intake,
            clock,
            log,
            busy=busy,
            stuck=around.stuck,
        )
        _make_delivery_directory(options.delivered, log)
        deliveries = Deliveries(
            options.delivered,
            state,
            log,
            boot_id=boot,
            now_ns=clock.now_ns,
            owner=options.delivered_by,
        )
        self.chores = Chores(deliveries, intake, attestor if options.kmsg else None, log)
        self.autopilot: FastAPI | None = None
        if options.autopilot_port is not None:
            asking = Asking(
                specs,
                options.intervals,
                board,
                requests,
                clock,
                wake=worker.wake,
                starts=options.autopilot_starts,
            )
            counted.append(asking.take)
            self.autopilot = autopilot_http.create(
                options.node,
                asking,
                RateLimits(clock.monotonic, autopilot_http.RATES),
                log,
                metrics=lambda: (metrics.render(), CONTENT_TYPE),
            )
        keys = PublicKeys(options.keys, log, clock.monotonic)
        _watch(metrics, requests, attestor, history, keys)
        nonces = Nonces(state, clock, grace_ns=int(options.clock_skew_s * 1e9))
        self.app: FastAPI = api.create(
            api.Parts(
                boot_id=boot,
                version=options.version,
                board=board,
                history=history,
                orders=Orders(specs, requests, memory, board, log, busy=busy, wake=worker.wake),
                signatures=Signatures(
                    keys, nonces, clock, node=options.node, skew_s=options.clock_skew_s
                ),
                limits=RateLimits(clock.monotonic),
                attestor=attestor,
                metrics=metrics,
                health=Health(worker, history, attestor, attests=bool(options.kmsg)),
                checks=Listing(specs, options.intervals, board),
                log=log,
            )
        )


def build(options: Options, specs: tuple[CheckSpec, ...], around: Surroundings) -> Agent:
    """An agent that has not begun. Raises StateError, BootIdError, ListenError."""
    with contextlib.ExitStack() as undo:
        bound = undo.enter_context(contextlib.closing(listen(options.host, options.port)))
        beside = None
        if options.autopilot_port is not None:
            option = "--compat-autopilot-listen"
            beside = listen(options.autopilot_host, options.autopilot_port, option)
            undo.enter_context(contextlib.closing(beside))
        made = Made(options, specs, around)
        undo.pop_all()
    log = around.log
    others: tuple[Server, ...] = ()
    if beside is not None and made.autopilot is not None:
        others = (
            Server(made.autopilot, beside, log, connection=PatientConnection, name="autopilot"),
        )
    server = Server(made.app, bound, log)
    return Agent(made.worker, made.chores, server, made.state, log, others=others)


def _memory(state: StateDir, log: Log, checks: Collection[str], board: Board, node: str) -> Memory:
    memory = Memory(state, log)
    memory.forget(checks)
    if memory.settings is not None and memory.settings.node == node:
        board.settings(settings_digest(memory.settings))
    return memory


def _make_delivery_directory(path: str, log: Log) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        log.warning("Jobs cannot deliver", file=path, why=error.strerror)


def _attestor(options: Options, around: Surroundings, boot: str) -> Attestor:
    def device() -> Ring:
        if not options.kmsg:
            raise RingError("this agent does not read the kernel log")
        return KmsgDevice(options.kmsg)

    ring = KernelLog(RingCursor(around.open_ring or device, None))
    return Attestor(ring, boot_id=boot, monotonic=around.clock.monotonic)


def _watch(
    metrics: Metrics, requests: Requests, attestor: Attestor, history: History, keys: PublicKeys
) -> None:
    watch = metrics.watch
    watch("queued_runs", "Runs that were asked for and have not begun.", lambda: len(requests))
    watch("kmsg_records", "Kernel records that can be confirmed.", attestor.known)
    watch("history_bytes", "Runs of the past on the disk.", history.size)
    watch("history_writable", "0: the newest run was not kept.", lambda: float(history.writable))
    watch("public_keys", "Keys that may sign requests.", keys.count)
