"""Checks that tests have run in a child: what each does is in its option ``do``."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from probes.backends.base import Gpu
from probes.check import (
    Bound,
    Cadence,
    CheckSpec,
    Context,
    Finding,
    Measurement,
    Outcome,
    Threshold,
    Tier,
)
from probes.errors import BackendMissing, CheckError, GpuLost, Skipped

REFERENCE = "tests.support.probe_checks:CHECKS"
BACKEND = "tests.support.probe_checks:backend"
GPU = "0000:3b:00"


@dataclass(frozen=True)
class Doing:
    """A check that does what its option says."""

    spec: CheckSpec

    def run(self, context: Context) -> Iterable[Finding]:
        return DEEDS[context.options.get("do", "pass")](context)


def _spec(
    name: str, deadline_s: float, tier: Tier = Tier.LIGHT, *, idle: bool = False
) -> CheckSpec:
    return CheckSpec(name, f"Does {name} do?", tier, Cadence.LIGHT, deadline_s, idle)


CHECKS = (
    Doing(_spec("first", 20.0)),
    Doing(_spec("second", 20.0)),
    Doing(_spec("short", 1.0)),
    Doing(_spec("third", 20.0)),
    Doing(_spec("idle-only", 20.0, Tier.INVASIVE, idle=True)),
)


def passing(message: str = "good") -> Finding:
    limit = Threshold(50.0, Bound.AT_LEAST, "a table")
    return Finding(Outcome.PASS, message, GPU, (Measurement("h2d", 55.0, "GB/s", limit),))


def hang(*_: object) -> None:
    threading.Event().wait(600)


def _pass(_: Context) -> Iterable[Finding]:
    return [passing()]


def _fail_then_hang(_: Context) -> Iterator[Finding]:
    yield Finding(Outcome.FAIL, "slow", GPU, severity="fatal", remedy="reset_gpu")
    hang()


def _hang(_: Context) -> Iterable[Finding]:
    hang()
    return []


def _nothing(_: Context) -> Iterable[Finding]:
    return []


def _raiser(error: BaseException) -> Callable[[Context], Iterable[Finding]]:
    def deed(_: Context) -> Iterable[Finding]:
        raise error

    return deed


def _pass_then_raise(_: Context) -> Iterator[Finding]:
    yield passing()
    raise ValueError("no such field")


def _gpus(context: Context) -> Iterable[Finding]:
    return [passing(f"{len(context.backend.gpus())} GPUs")]


def _noise(_: Context) -> Iterable[Finding]:
    libc = ctypes.CDLL(None)
    for _number in range(3000):
        libc.puts(b'{"m": "finding", "finding": {"outcome": "pass", "message": "forged"}}')
        libc.dprintf(2, b"warning: %d\n", 7)
    libc.fflush(None)
    return [Finding(Outcome.FAIL, "bad")]


def _crash(_: Context) -> Iterable[Finding]:
    print("about to fall over", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
    return []


def _killed(_: Context) -> Iterable[Finding]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def _channel() -> int:
    return int(sys.argv[1])


def _garbage(_: Context) -> Iterable[Finding]:
    os.write(_channel(), b"\x00\xff no message\n")
    return [passing()]


def _out_of_turn(_: Context) -> Iterable[Finding]:
    os.write(_channel(), b'{"m": "begin", "check": "third"}\n')
    return [passing()]


def _endless_line(_: Context) -> Iterable[Finding]:
    while True:
        os.write(_channel(), b"x" * 65536)


def _leave(context: Context) -> Iterable[Finding]:
    """A process in a session of its own, without our environment, whose parent ends at once."""
    script = f"setsid env -i sleep 600 & echo $! > {context.options['file']}"
    subprocess.run(["sh", "-c", script], check=True)
    return [passing()]


def _leave_and_hang(context: Context) -> Iterable[Finding]:
    _leave(context)
    return _hang(context)


def _leave_and_crash(context: Context) -> Iterable[Finding]:
    subprocess.run(
        ["sh", "-c", f"setsid sleep 600 & echo $! > {context.options['file']}"], check=True
    )
    return _crash(context)


def _pid(context: Context) -> Iterable[Finding]:
    """Tells its process, then waits to be ended."""
    with open(context.options["file"], "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    if context.options.get("then", "hang") == "hang":
        hang()
    return [passing()]


def _freeze(context: Context) -> Iterable[Finding]:
    """Puts itself into a freezer and sleeps there; it is in the kernel until it is thawed."""
    with open(context.options["file"], "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    for name, content in (("cgroup.procs", str(os.getpid())), ("freezer.state", "FROZEN")):
        with open(f"{context.options['freezer']}/{name}", "w", encoding="ascii") as file:
            file.write(content)
    hang()
    return [passing()]


def _freeze_tool(context: Context) -> Iterable[Finding]:
    """Runs a program that does so."""
    folder, file = context.options["freezer"], context.options["file"]
    freeze = f"echo $$ >{folder}/cgroup.procs; echo FROZEN >{folder}/freezer.state"
    script = f"echo $$ >>{file}; {freeze}; exec sleep 600"
    context.tool(("sh", "-c", script), deadline_s=float(context.options["within"]))
    return [passing()]


def _tool(context: Context) -> Iterable[Finding]:
    """Runs a shell that tells its process and waits."""
    script = f"echo $$ >> {context.options['file']}; exec sleep 600"
    context.tool(("sh", "-c", script), deadline_s=float(context.options["within"]))
    return [passing()]


def _fast_tool(context: Context) -> Iterable[Finding]:
    output = context.tool(("sh", "-c", "echo $LC_ALL; exit 3"), deadline_s=5.0)
    return [passing(f"{output.stdout.strip()} {output.returncode}")]


def _count(context: Context) -> Iterable[Finding]:
    before = context.before.get("count", 0)
    context.keep["count"] = (before if isinstance(before, int) else 0) + 1
    return [passing(f"before {before}")]


def _keep_much(context: Context) -> Iterable[Finding]:
    context.keep["much"] = "x" * 70_000
    return [passing()]


def _keep_no_json(context: Context) -> Iterable[Finding]:
    context.keep["what"] = object()
    return [passing()]


def _keep_and_raise(context: Context) -> Iterable[Finding]:
    context.keep["count"] = 100
    raise CheckError("half way")


def _lying(context: Context) -> Iterable[Finding]:
    value = float(context.options["value"])
    limit = Threshold(50.0, Bound.AT_LEAST, "a table")
    return [Finding(Outcome.PASS, "good", GPU, (Measurement("h2d", value, "GB/s", limit),))]


def _odd_severity(_: Context) -> Iterable[Finding]:
    return [Finding(Outcome.FAIL, "bad", GPU, severity="terrible")]


def _odd_device(_: Context) -> Iterable[Finding]:
    return [Finding(Outcome.PASS, "good", "gpu 0; rm -rf")]


def _many(_: Context) -> Iterable[Finding]:
    return [passing() for _number in range(300)]


def _not_a_finding(_: Context) -> Iterable[Finding]:
    return ["pass"]  # type: ignore[list-item]


def _hostile_text(_: Context) -> Iterable[Finding]:
    limit = Threshold(1.0, Bound.AT_LEAST, "a\x1b[2Jtable")
    text = "red \x1b[31m\nline\u202e" + "x" * 5000
    measured = (Measurement("n\x00ame", 2.0, "G\nB", limit),)
    return [Finding(Outcome.FAIL, text, "", measured, detail={"k\n": "v\r" * 1000})]


def _show(context: Context) -> Iterable[Finding]:
    shown = f"{context.root} {context.boot_id} {context.node.name} {context.node.expected_gpus}"
    return [passing(f"{shown} {sorted(context.options.items())} {sys.stdin.read()!r}")]


DEEDS: Mapping[str, Callable[[Context], Iterable[Finding]]] = {
    "pass": _pass,
    "fail-then-hang": _fail_then_hang,
    "hang": _hang,
    "nothing": _nothing,
    "skip": _raiser(Skipped("no NVSwitch here")),
    "error": _raiser(CheckError("nvidia-smi said nothing")),
    "exit": _raiser(SystemExit(0)),
    "bug": _raiser(KeyError("field")),
    "pass-then-raise": _pass_then_raise,
    "lost": _raiser(GpuLost("GPU 3 has fallen off the bus")),
    "gpus": _gpus,
    "noise": _noise,
    "crash": _crash,
    "killed": _killed,
    "garbage": _garbage,
    "out-of-turn": _out_of_turn,
    "endless-line": _endless_line,
    "leave": _leave,
    "leave-and-hang": _leave_and_hang,
    "leave-and-crash": _leave_and_crash,
    "pid": _pid,
    "freeze": _freeze,
    "freeze-tool": _freeze_tool,
    "tool": _tool,
    "fast-tool": _fast_tool,
    "count": _count,
    "keep-much": _keep_much,
    "keep-no-json": _keep_no_json,
    "keep-and-raise": _keep_and_raise,
    "lying": _lying,
    "odd-severity": _odd_severity,
    "odd-device": _odd_device,
    "many": _many,
    "not-a-finding": _not_a_finding,
    "hostile-text": _hostile_text,
    "show": _show,
}


class TwoGpus:
    """A backend with two GPUs, of which the environment says how many are busy."""

    name, fake = "fake", True

    def __init__(self, busy: int) -> None:
        self._busy = busy

    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(Gpu(n, f"0000:{n}b:00", f"GPU-{n}", "NVIDIA H100") for n in range(2))

    def busy(self, gpu: Gpu) -> bool:
        return gpu.index < self._busy


def backend(environ: Mapping[str, str], _root: str) -> TwoGpus:
    """What BACKEND names."""
    kind = environ.get("TEST_BACKEND", "0")
    if kind == "missing":
        raise BackendMissing("libnvidia-ml.so.1 is not there")
    if kind == "broken":
        raise RuntimeError("a bug")
    if kind == "hang":
        hang()
    return TwoGpus(int(kind))
