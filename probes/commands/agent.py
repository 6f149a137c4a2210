"""What does ``konduktor-probe agent`` take, and how is it wired? ``probes.agent`` does the work."""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import re
import signal
import sys
import threading

from probes.agent.agent import Agent
from probes.agent.boots import boot_id
from probes.agent.build import Surroundings, build
from probes.agent.clocks import HostClock
from probes.agent.log import JsonLog
from probes.agent.options import CLOCK_SKEW_S, INTERVALS, KEYS, STATE, Options
from probes.check import CheckSpec
from probes.commands.checks import USER_CHECKS, add_backend_option, backend_environ, catalog
from probes.errors import ProbeError
from probes.kmsg.command import node_name
from probes.processes.seen import Processes
from probes.report import PORT
from probes.runner.run import Runner
from probes.runner.stuck import StuckProcesses

DESCRIPTION = """\
Run the checks of this node by their cadence, keep what they found, and serve it to the controller:
/v1/report, /v1/checks, /v1/history, /v1/run and /v1/settings (signed), /v1/kmsg, /metrics,
/healthz, /readyz, /openapi.json. The log is JSON lines on stdout.

Each option that has a value can be given as a variable too: KONDUKTOR_PROBE_ and its name, e.g.
KONDUKTOR_PROBE_LIGHT_INTERVAL=120. The command line outranks it.
"""
EPILOG = """\
exit codes: 0 ended by SIGTERM or Ctrl-C, 1 it cannot work or a part of it ended (the log says
  why), 2 wrong usage

examples:
  konduktor-probe agent --state /var/lib/konduktor-probe --keys /etc/konduktor-probe/keys
  konduktor-probe agent --backend fake --state /tmp/agent --listen 127.0.0.1:9410 --no-kmsg
"""
VARIABLES = "KONDUKTOR_PROBE_"
_MIB = 1024 * 1024
_DAY_S = 86400.0
_OPTION = re.compile(r"([a-z0-9-]{1,63}\.[A-Za-z0-9_.-]{1,64})=(.*)", re.DOTALL)
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{0,253})):([0-9]{1,5})")
#: Longest time that the parts of an agent have to end; then the process ends hard.
LONGEST_END_S = 15.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_backend_option(parser)
    what = parser.add_argument_group("this node")
    what.add_argument(
        "--node", default="", help="node name (environment NODE_NAME, else the host name)"
    )
    _add(what, "--root", "DIR", "/", "where /sys, /proc and /etc of the node are (%(default)s)")
    what.add_argument(
        "--user-checks",
        default=os.environ.get(USER_CHECKS, ""),
        metavar="PATH",
        help=f"checks of your own: a JSON file, or a folder of them (environment {USER_CHECKS})",
    )
    what.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="CHECK.NAME=VALUE",
        help="an option of a check; a signed request may give another; repeatable",
    )
    when = parser.add_argument_group("when checks run, seconds between two runs; 0: never")
    _add(when, "--light-interval", "SECONDS", f"{INTERVALS['light']:g}", "cadence light")
    _add(when, "--hourly-interval", "SECONDS", f"{INTERVALS['hourly']:g}", "cadence hourly")
    _add(
        when,
        "--invasive-interval",
        "SECONDS",
        f"{INTERVALS['invasive']:g}",
        "cadence invasive, while all GPUs are idle; 0 where Jobs of the controller do it",
    )
    when.add_argument(
        "--no-boot-checks",
        action="store_true",
        help="do not run the boot checks after a boot and after the driver was loaded anew",
    )
    kept = parser.add_argument_group("what is kept")
    _add(kept, "--state", "DIR", STATE, "directory of the agent alone (%(default)s)")
    _add(
        kept,
        "--delivered",
        "DIR",
        "",
        "where Jobs leave their runs, of root alone (default: delivered, in --state)",
    )
    _add(kept, "--history-mib", "MIB", "32", "runs of the past, most room (%(default)s)")
    _add(kept, "--history-days", "DAYS", "7", "runs of the past, oldest (%(default)s)")
    served = parser.add_argument_group("who is served")
    _add(
        served,
        "--listen",
        "HOST:PORT",
        f":{PORT}",
        "address to answer on; without HOST every one, of IPv4 and IPv6 (%(default)s)",
    )
    _add(
        served,
        "--keys",
        "PATH",
        KEYS,
        "Ed25519 public keys (PEM) that may sign requests: a file, or a directory of them, read "
        "again when it changes (%(default)s)",
    )
    _add(
        served,
        "--clock-skew",
        "SECONDS",
        f"{CLOCK_SKEW_S:g}",
        "how far the clocks of controller and node may be apart; so long after its first start "
        "the agent takes no signed request (%(default)s)",
    )
    _add(served, "--kmsg", "DEVICE", "/dev/kmsg", "kernel log that /v1/kmsg answers from")
    served.add_argument("--no-kmsg", action="store_true", help="answer unknown to all of /v1/kmsg")
    served.add_argument(
        "--compat-autopilot",
        action="store_true",
        help="also serve the gauge autopilot_health_checks, for dashboards of IBM Autopilot",
    )
    _add(
        served,
        "--compat-autopilot-listen",
        "HOST:PORT",
        "",
        "also serve Autopilot's paths (/status, /pciebw ...) here, e.g. :3333, to whoever asks: "
        "what checks found last; left out: not at all",
    )
    served.add_argument(
        "--compat-autopilot-start",
        action="store_true",
        help="let whoever asks there have light checks run, each at most every 30 s (hourly ones "
        "every 5 minutes)",
    )
    _add(served, "--log-level", "LEVEL", "info", "debug, info, warning or error (%(default)s)")


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Work until a signal; returns the exit code."""
    options = _options(parser, arguments)
    known = catalog(parser, arguments)
    specs = known.specs()
    _refuse_unknown_checks(parser, options, specs)
    clock = HostClock()
    log = JsonLog(sys.stdout, clock, level=_level(parser, arguments))
    os.umask(0o077)
    try:
        processes = Processes()
        boot = boot_id(options.root)
        stuck = StuckProcesses(
            os.path.join(options.state, "stuck.json"),
            boot,
            processes=processes,
            log=lambda text: log.warning("stuck processes", why=text),
        )
        runner = Runner(
            known,
            stuck,
            boot_id=boot,
            root=options.root,
            environ=backend_environ(arguments, os.environ),
            processes=processes,
        )
        agent = build(
            options,
            specs,
            Surroundings(
                runner=runner,
                clock=clock,
                log=log,
                stuck=lambda: [each.check for each in stuck.living()],
            ),
        )
    except (ProbeError, OSError) as error:
        log.failed("the agent cannot work", why=str(error))
        return 1
    log.info("agent begins", node=options.node, version=options.version, checks=len(specs))
    _end_on_signals(agent)
    try:
        return 0 if agent.run() else 1
    finally:
        runner.close()


def _end_on_signals(agent: Agent) -> None:
    """SIGTERM and SIGINT end it; what does not end in time is ended hard."""

    def stop(_number: int, _frame: object) -> None:
        watch = threading.Timer(LONGEST_END_S, os._exit, (1,))
        watch.daemon = True
        watch.start()
        agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _add(
    group: argparse._ArgumentGroup, option: str, metavar: str, usual: str, meaning: str
) -> None:
    """An option with a value, which may come from the environment."""
    variable = VARIABLES + option.strip("-").replace("-", "_").upper()
    group.add_argument(
        option, default=os.environ.get(variable) or usual, metavar=metavar, help=meaning
    )


def _options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Options:
    node = arguments.node or node_name()
    if not _NODE.fullmatch(node):
        parser.error("the node name may hold letters, digits, '.', '_' and '-' only")
    host, port = _address(parser, "--listen", arguments.listen, PORT)
    beside = arguments.compat_autopilot_listen
    their_host, their_port = (
        _address(parser, "--compat-autopilot-listen", beside, 3333) if beside else ("", None)
    )
    if arguments.compat_autopilot_start and not beside:
        parser.error("--compat-autopilot-start: asks for --compat-autopilot-listen, e.g. :3333")
    if not os.path.isdir(arguments.root):
        parser.error(f"--root {arguments.root[:80]!r}: no such directory")
    number = _Numbers(parser, arguments)
    return Options(
        node=node,
        host=host,
        port=port,
        state=arguments.state,
        delivered=arguments.delivered or os.path.join(arguments.state, "delivered"),
        keys=arguments.keys,
        clock_skew_s=number.between("clock_skew", 0, 300),
        root=arguments.root,
        kmsg="" if arguments.no_kmsg else arguments.kmsg,
        intervals={
            "light": number.interval("light_interval"),
            "hourly": number.interval("hourly_interval"),
            "invasive": number.interval("invasive_interval"),
        },
        boot_checks=not arguments.no_boot_checks,
        check_options=_check_options(parser, arguments.option),
        history_bytes=int(number.between("history_mib", 1, 4096) * _MIB),
        history_age_s=number.between("history_days", 0.01, 3650) * _DAY_S,
        compat_autopilot=arguments.compat_autopilot,
        autopilot_host=their_host,
        autopilot_port=their_port,
        autopilot_starts=arguments.compat_autopilot_start,
        version=_version(),
    )


def _address(
    parser: argparse.ArgumentParser, option: str, text: str, usual: int
) -> tuple[str, int]:
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        parser.error(f"{option} {text[:80]!r}: HOST:PORT is expected, e.g. :{usual}")
    return match[1] or match[2] or "", int(match[3])


class _Numbers:
    """Options that are numbers; a wrong one ends the program."""

    def __init__(self, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
        self._parser, self._arguments = parser, arguments

    def between(self, name: str, least: float, most: float) -> float:
        """From ``least`` to ``most``."""
        text = getattr(self._arguments, name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # also false for what is no number
            option = "--" + name.replace("_", "-")
            self._parser.error(
                f"{option} {str(text)[:40]!r}: a number from {least:g} to {most:g} is expected"
            )
        return value

    def interval(self, name: str) -> float:
        """0, or from 5 s to 30 days."""
        text = str(getattr(self._arguments, name))
        return 0.0 if text.strip() in ("0", "0.0") else self.between(name, 5, 30 * _DAY_S)


def _check_options(parser: argparse.ArgumentParser, given: list[str]) -> dict[str, str]:
    options = {}
    for each in given:
        match = _OPTION.fullmatch(each)
        if match is None:
            parser.error(f"--option {each[:80]!r}: CHECK.NAME=VALUE is expected, e.g. ping.count=3")
        options[match[1]] = match[2]
    return options


def _refuse_unknown_checks(
    parser: argparse.ArgumentParser, options: Options, specs: tuple[CheckSpec, ...]
) -> None:
    names = {spec.name for spec in specs}
    for option in options.check_options:
        check = option.split(".")[0]
        if check not in names:
            parser.error(f"--option {option}: no check {check!r}; konduktor-probe list prints them")


def _level(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    level = str(arguments.log_level).lower()
    if level not in ("debug", "info", "warning", "error"):
        parser.error(f"--log-level {level[:40]!r}: debug, info, warning or error is expected")
    return level


def _version() -> str:
    # the image has the node part alone, under a name of its own
    for name in ("konduktor-health-probe", "konduktor-health"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
