"""The process in which the checks of a run are run, one after the other.

``python -m probes.runner.child FD``: the job (``probes.runner.job``) is on standard input, messages
(``probes.runner.messages``) go to FD. It keeps no time: whoever started it ends it.

Invariants: whatever a check raises becomes an ``error`` (or the ``skip`` or ``timeout`` that it
stands for), never a pass; what a check started and left behind is ended before the next one begins.
It starts within 100 ms of CPU time: it imports nothing but the standard library and the checks that
it is to run.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, cast

from parsers.printable import printable
from probes.backends.base import GpuBackend
from probes.backends.none import NoBackend
from probes.check import Check, Context, Outcome, Tool
from probes.errors import BackendError, CheckError, Skipped, ToolTimeout
from probes.processes.ending import end_all
from probes.processes.seen import Processes, ProcessId
from probes.runner import findings, messages
from probes.runner.catalog import Catalog
from probes.runner.idle import why_not_idle
from probes.runner.job import RUN_VARIABLE, Job, resolve
from probes.runner.marks import with_check
from probes.tools.run import ProgramTool

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def main(words: list[str]) -> int:
    """Run the job; the exit code says nothing."""
    channel = int(words[0])
    os.set_inheritable(channel, False)
    job = Job.from_bytes(sys.stdin.buffer.read())
    _nothing_to_read()
    _own_all_descendants()

    def tell(kind: str, **members: object) -> None:
        line = messages.encode(kind, **members)
        while line:
            line = line[os.write(channel, line) :]

    catalog = Catalog(job.registry, job.user_checks)
    checks = {check.spec.name: check for check in catalog.named(job.checks)}
    backend: GpuBackend | None = None
    processes, given_up = Processes(), set[ProcessId]()
    for name in job.checks:
        tell("begin", check=name)
        if backend is None:  # in the time of a check, since a driver may hang here already
            backend = _backend(job)
            tell("backend", name=backend.name, fake=backend.fake)
        keep = _run(checks[name], _context(job, name, backend, processes), tell)
        if left := _end_descendants(processes, given_up):
            tell("left", processes=left)
            given_up |= set(left)
        elif keep is not None:
            tell("keep", keep=keep)
        tell("done")
    tell("end")
    return 0


def _backend(job: Job) -> GpuBackend:
    try:
        chosen: GpuBackend = resolve(job.backend)(os.environ, job.root)
    except BackendError as error:
        return cast("GpuBackend", NoBackend(error))
    except Exception as error:  # checks that need no GPU can still run
        text = f"the backend cannot be made: {type(error).__name__}: {error}"
        return cast("GpuBackend", NoBackend(BackendError(text)))
    return chosen


def _context(job: Job, name: str, backend: GpuBackend, processes: Processes) -> Context:
    marked = {**os.environ, RUN_VARIABLE: with_check(os.environ[RUN_VARIABLE], name)}
    return Context(
        backend=backend,
        tool=_tool(backend, ProgramTool(marked, processes=processes)),
        root=job.root,
        node=job.node,
        options=job.options.get(name, {}),
        before=job.before.get(name, {}),
        boot_id=job.boot_id,
    )


def _tool(backend: GpuBackend, real: Tool) -> Tool:
    """Fake GPUs have fake tools, which are loaded for them alone."""
    if not backend.fake:
        return real
    from probes.backends.fake_tools import tool_for

    return tool_for(backend, real)


def _run(check: Check, context: Context, tell: Callable[..., None]) -> Mapping[str, object] | None:
    """Tell what it finds; returns what it keeps, None when it came to no proper end."""
    count = 0
    try:
        for finding in _findings(check, context):
            count += 1
            if count > messages.MOST_FINDINGS:
                tell("finding", finding=findings.error(f"more than {count - 1} findings"))
                return None
            tell("finding", finding=finding)
        if count == 0:
            tell("finding", finding=findings.error("the check found nothing to say"))
    except BaseException as error:  # also SystemExit: a check ends itself, not the run
        tell("finding", finding=_raised(error))
        return None
    if not context.keep:
        return None
    try:
        size = len(json.dumps(context.keep, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        tell("finding", finding=findings.error(f"what it keeps is no JSON: {error}"))
        return None
    if size > messages.KEEP_LIMIT:
        tell("finding", finding=findings.error(f"it keeps {size} bytes, too many"))
        return None
    return context.keep


def _findings(check: Check, context: Context) -> Iterator[dict[str, Any]]:
    if check.spec.needs_idle_gpus and (why := why_not_idle(context.backend)):
        yield findings.of(Outcome.SKIP, why)
        return
    for finding in check.run(context):
        yield findings.told(finding)


def _raised(error: BaseException) -> dict[str, Any]:
    if isinstance(error, Skipped):
        return findings.of(Outcome.SKIP, str(error) or "no reason told")
    if isinstance(error, ToolTimeout):
        return findings.of(Outcome.TIMEOUT, str(error) or "a program did not end in time")
    if isinstance(error, CheckError):
        return findings.error(str(error) or type(error).__name__)
    return findings.of(
        Outcome.ERROR,
        f"{type(error).__name__}: {printable(str(error), 400)}",
        where=_where(error.__traceback__),
    )


def _where(trace: TracebackType | None) -> str:
    """File and line of the innermost call; the module traceback would take 8 ms to load."""
    where = ""
    while trace is not None:
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where


def _nothing_to_read() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _own_all_descendants() -> None:
    """Orphans among the descendants come to this process, so that all of them are found; and it
    ends with the thread that started it."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _end_descendants(processes: Processes, given_up: set[ProcessId]) -> tuple[ProcessId, ...]:
    """End what a check left behind; returns what does not end."""
    if not _has_children():
        return ()
    left = end_all(processes, lambda: set(processes.descendants(os.getpid())) - given_up)
    _has_children()  # waits for those that have ended
    return left


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
    # A thread that a check left behind would keep the interpreter from ending.
    os._exit(0)
