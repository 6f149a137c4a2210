"""What does ``konduktor-probe kmsg`` take? ``probes.kmsg.command`` runs it."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys

from probes.kmsg.command import KmsgOptions, PushOptions, node_name
from probes.kmsg.command import run as run_kmsg

DESCRIPTION = """\
Follow the kernel log and write one JSON line per record on stdout, a heartbeat line each
minute, and a line that says how many records the kernel overwrote before they were read.
With --push (or LOKI_PUSH_URL, or LOG_ENDPOINT) the lines also go to Loki, labelled
job="konduktor-kmsg" and node; nothing is lost while Loki restarts.
"""
EPILOG = """\
exit codes: 0 done or ended by a signal, 1 failure (the message says why), 2 wrong usage

examples:
  konduktor-probe kmsg --once                       what the kernel log holds now
  konduktor-probe kmsg --state /var/lib/konduktor/kmsg.json --push http://loki.loki.svc:3100
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--device", default="/dev/kmsg", help="kernel log device (%(default)s)")
    parser.add_argument(
        "--node", default="", help="node name (environment NODE_NAME, else the host name)"
    )
    parser.add_argument(
        "--state",
        default="",
        metavar="FILE",
        help="remember the last delivered record here, to go on after a restart; "
        "after a reboot everything since boot is read; without a file: from now",
    )
    parser.add_argument(
        "--from-start", action="store_true", help="begin with the oldest record of the ring"
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="write what the ring holds and end; ignores --state, pushes only with --push",
    )
    parser.add_argument(
        "--heartbeat",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="a heartbeat line this often (%(default)g)",
    )
    parser.add_argument("--no-stdout", action="store_true", help="only push")
    parser.add_argument(
        "--drop-privileges",
        action="store_true",
        help="become user 65532 with no capability but CAP_SYSLOG; for a privileged container "
        "(the directory of --state is made when it is not there)",
    )
    push = parser.add_argument_group("push to Loki")
    push.add_argument(
        "--push",
        default="",
        metavar="URL",
        help="base URL of Loki (environment LOKI_PUSH_URL, else LOG_ENDPOINT)",
    )
    push.add_argument("--no-push", action="store_true", help="ignore the environment: no push")
    push.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another stream label, e.g. cluster=east; repeatable",
    )
    push.add_argument("--tenant", default="", help="X-Scope-OrgID")
    push.add_argument(
        "--token-file", default="", metavar="FILE", help="bearer token, read for each push"
    )
    push.add_argument(
        "--ca-file", default="", metavar="FILE", help="CA certificates (PEM) to verify Loki with"
    )
    push.add_argument(
        "--buffer-mib",
        type=_positive,
        default=4.0,
        metavar="MIB",
        help="lines held for Loki; when full, the kernel's ring is the buffer (%(default)g)",
    )


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    options = _kmsg_options(parser, arguments)
    if arguments.drop_privileges:
        from probes.privileges import PrivilegeError, drop_privileges

        try:
            drop_privileges(options.state)
        except PrivilegeError as error:
            sys.stderr.write(f"konduktor-probe kmsg: --drop-privileges: {error}\n")
            return 1
    return run_kmsg(options)


def _kmsg_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> KmsgOptions:
    node = arguments.node or node_name()
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", node):
        parser.error("the node name may hold letters, digits, '.', '_' and '-' only")
    push = _push_options(parser, arguments)
    if arguments.no_stdout and push is None:
        parser.error("--no-stdout needs --push")
    return KmsgOptions(
        node=node,
        device=arguments.device,
        state=arguments.state,
        from_start=arguments.from_start,
        once=arguments.once,
        stdout=not arguments.no_stdout,
        heartbeat_s=arguments.heartbeat,
        push=push,
    )


def _push_options(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> PushOptions | None:
    url = arguments.push
    if not url and not arguments.no_push and not arguments.once:
        url = os.environ.get("LOKI_PUSH_URL") or os.environ.get("LOG_ENDPOINT") or ""
    if arguments.push and arguments.no_push:
        parser.error("--push and --no-push exclude each other")
    if not url:
        return None
    labels = {}
    for given in arguments.label:
        name, separator, value = given.partition("=")
        if not separator or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or not value:
            parser.error(f"--label {given[:80]!r}: NAME=VALUE is expected, e.g. cluster=east")
        labels[name] = value
    from probes.kmsg.loki import PushConfigError, PushTarget

    try:
        PushTarget(url, arguments.tenant, arguments.token_file, arguments.ca_file)
    except PushConfigError as error:
        parser.error(str(error))
    return PushOptions(
        url=url,
        tenant=arguments.tenant,
        token_file=arguments.token_file,
        ca_file=arguments.ca_file,
        labels=labels,
        buffer_bytes=int(arguments.buffer_mib * 1024 * 1024),
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1e9:  # also false for what is no number
        raise argparse.ArgumentTypeError("a number above 0 is expected (at most 1e9)")
    return value
