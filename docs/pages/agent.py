"""What does the node agent answer, and what does it refuse?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from docs.pages.tables import code, table
from konduktor_health import __version__
from probes.agent import connections
from probes.agent.attest import SHORTEST_CUT
from probes.agent.bodies import SLOWEST_S
from probes.agent.build import Made, Surroundings
from probes.agent.clocks import HostClock
from probes.agent.fitting import MOST_RUN_BYTES
from probes.agent.kernellog import MOST_BYTES
from probes.agent.limits import RATES
from probes.agent.options import CLOCK_SKEW_S, INTERVALS, Options
from probes.agent.refusals import CODES
from probes.agent.requests import MOST_QUEUED
from probes.agent.schedule import FIRST_WITHIN_S
from probes.agent.shelf import SHARES
from probes.report import LONGEST_VALIDITY_S, MOST_BODY_BYTES, PORT, SIGNATURE_HEADER

_API = f"""
# The agent's API

`konduktor-probe agent` ([options](cli.md)) answers on port {PORT}. The document for programs is its
own answer, `/openapi.json`, and [agent-openapi.json](agent-openapi.json). There are no other pages:
none that would load scripts from elsewhere.

Reading is free: a NetworkPolicy says who reaches the agent at all. What starts work or changes
something is [signed](#signed-requests). There is no TLS; what is read holds no secrets, and what is
written is signed.

"""
_WHEN = f"""
## When checks run

Each check has a [cadence](checks.md); those of one cadence make one run, and one run goes on at a
time. What was asked for comes first, then boot checks, then the cadence that waits longest.

- `boot`: once in a boot, and after the driver was loaded anew (the inode number of
  `/sys/module/nvidia` tells).
- `light` each {INTERVALS["light"]:g} s, `hourly` each {INTERVALS["hourly"]:g} s: at points that
  are shifted by the node's name, so that nodes do not beat together, and that a restart does not
  move. The first run of a boot comes within {FIRST_WITHIN_S:g} s.
- `invasive` each {INTERVALS["invasive"] / 3600:g} h, while no check has seen something run on a
  GPU; the runner looks again just before. `--invasive-interval 0` where the controller's Jobs do
  it.
- A run that is missed (another one takes long) is made up once.

A run of a Job is taken up from the delivery directory (`konduktor-probe run --deliver`): regular
files of root that nobody else could have written, of this boot, each once.

"""
_REPORT = f"""
## What a report tells

The newest runs of each cadence in this boot, oldest first. Of runs that are not told in full,
passing results come without message, measurements and detail: by their outcome alone. Members that
have their default are left out. A run that would be larger than {MOST_RUN_BYTES // 1024} KiB tells
its worst results and an `error` that says how many were left out.

"""
_SIGNED = f"""
## Signed requests

`{SIGNATURE_HEADER}: <key id>:<base64 of the Ed25519 signature>`. Signed is
`konduktor-health v1 POST <path>`, a line feed, and the body as sent. The key id is the first 16 hex
digits of the SHA-256 of the 32 bytes of the public key; the name of the key's file without its
ending is good too.

Public keys are PEM files ("BEGIN PUBLIC KEY"), one or several to a file, in the directory of
`--keys`. It is read again when something there changes; all of them are good, so a key is exchanged
by adding the new one, signing with it, and removing the old one.

The agent looks, in this order, whether

1. it holds a key, there is a signature, and the key made it over this path and body,
2. the body fits the schema to the letter,
3. `node` is its own,
4. `issued_ns` and `expires_ns` are at most {LONGEST_VALIDITY_S:g} s apart and now is between them,
   give or take {CLOCK_SKEW_S:g} s of clock skew,
5. what is asked for can be done (the checks exist, no GPU is known to be busy for an invasive one),
6. `nonce` was not used: it is on the disk before anything is done, until the request has expired.

An agent whose state directory is new or was lost, or whose nonces are damaged, cannot tell what was
taken before. It refuses (`uncertain`, with `Retry-After`) what is not issued more than the clock
skew after it started, since a controller's clock may be so far ahead: it takes nothing signed for
{CLOCK_SKEW_S:g} s, and from a controller whose clock is behind for up to {2 * CLOCK_SKEW_S:g} s. A
controller sends its settings again after a minute. `--clock-skew` sets another skew.

"""
_KMSG = f"""
## Attestation: `/v1/kmsg`

- `confirmed`: a record of this text, and of this number and uptime stamp where the question has
  them, is in this node's kernel log; `injected` when all such records were written by programs
  (facility other than 0).
- `denied`: such a record would be known, and is not.
- `unknown`: the log does not reach back so far, records are missing there, it cannot be read, the
  question is of another boot, or it has no uptime and nothing was found.

The agent reads `/dev/kmsg` all the time and remembers records beyond the kernel's ring, in up to
{MOST_BYTES // 1024**2} MiB. Texts are compared as the decoder reads them: without wrappers, colours
and escapes, blanks and what is not ASCII counting as one blank. A stamp agrees when it does to the
last digit that was printed. A line that a shipper cut is known as the beginning of a record when it
has at least {SHORTEST_CUT} characters; lines of a record of several lines one by one. A question
without a boot id is one about this boot, so ask only about lines that you take to be of it.

"""
_LIMITS = f"""
## Limits

At most {connections.MOST_CONNECTIONS} connections, {connections.MOST_OF_ONE} from one address;
more are closed at once. One that has not brought a whole request, or not taken its answer, within
{connections.EXCHANGE_S:g} s is cut; a body may take {SLOWEST_S:g} s and have {MOST_BODY_BYTES}
bytes. At most {MOST_QUEUED} runs wait. Between two requests a connection may idle for
{connections.KEEP_ALIVE_S} s. How often one address may ask:

"""
_PATHS = (
    ("GET", "/v1/report", "no", "what was found; 304 for its ETag, till a run ends"),
    ("GET", "/v1/checks", "no", "the checks of this node, when they run, what they came to last"),
    ("GET", "/v1/history", "no", "`?check=NAME&limit=N`: results, newest first"),
    ("POST", "/v1/run", "yes", "run checks once: 202; the report has the run by its id"),
    ("POST", "/v1/settings", "yes", "what only the controller knows of the node: 204"),
    ("POST", "/v1/kmsg", "no", "are these lines in the node's kernel log?"),
    ("GET", "/metrics", "no", "[metrics](probe-metrics.md)"),
    ("GET", "/healthz", "no", "200; 503 when only a restart helps: a run has not come to its end"),
    ("GET", "/readyz", "no", "200; 503 with a line and a hint for each trouble"),
    ("GET", "/openapi.json", "no", "the OpenAPI document"),
)  # fmt: skip


class _NoRunner:
    """Pages are written without running anything."""

    def run(self, order: object) -> NoReturn:
        raise NotImplementedError

    def stop(self) -> None:
        """Nothing runs."""


class _NoLog:
    """Says nothing."""

    def debug(self, message: str, **more: object) -> None:
        """Nothing."""

    info = warning = failed = debug


@contextmanager
def made_agent() -> Iterator[Made]:
    """An agent that runs nothing."""
    with tempfile.TemporaryDirectory(prefix="konduktor-docs-") as folder:
        options = Options(
            node="node",
            state=f"{folder}/state",
            delivered=f"{folder}/delivered",
            keys=f"{folder}/keys",
            kmsg="",
            compat_autopilot=True,
            version=__version__,
        )
        made = Made(options, (), Surroundings(_NoRunner(), HostClock(), _NoLog()))
        yield made
        made.state.close()


def agent_openapi() -> str:
    """The OpenAPI document."""
    with made_agent() as made:
        return json.dumps(made.app.openapi(), indent=2, sort_keys=True) + "\n"


def agent_api_page() -> str:
    """Endpoints, signatures, limits, refusals."""
    rates = ((code(path), str(rate.burst), f"{rate.per_s:g}") for path, rate in RATES.items())
    refusals = ((str(status), code(name), text) for name, (status, text) in CODES.items())
    shares = (
        (code(cadence), str(share.newest), str(share.failed), str(share.in_full))
        for cadence, share in SHARES.items()
    )
    return (
        _API.lstrip()
        + table(
            ("method", "path", "signed", "answer"),
            ((method, code(path), signed, text) for method, path, signed, text in _PATHS),
        )
        + _WHEN
        + _REPORT.lstrip("\n")
        + table(
            ("cadence", "newest runs", "runs in which something failed, of the newest", "in full"),
            shares,
        )
        + _SIGNED
        + _KMSG.lstrip("\n")
        + _LIMITS.lstrip("\n")
        + table(("path", "at once", "a second from then on"), rates)
        + '\n## Refusals\n\nEach is JSON: `{"error": {"code", "message", "hint"}}`.'
        + "\nWhat is no HTTP request at all is answered with 400 and a line of text.\n\n"
        + table(("status", "code", "when"), refusals)
    )
