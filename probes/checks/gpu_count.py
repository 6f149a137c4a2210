"""Are all GPUs there, and does the driver open each?

Three comparisons: the PCI bus against the driver, the driver's GPUs against each answering a
question, and both against how many there should be: the option ``expected``, else what the
controller says, else the GPUs that were seen since this boot.

A GPU on the bus that the driver does not have, or that was there in this boot and is gone, is named
and fails: fatal, as Xid 79 (fallen off the bus) is, by reboot. One that waits for its reset fails
with that remedy. It is looked for three times before that: a reset, or a driver that is unloaded,
takes a moment. One that no driver holds may be on its way to one, or to a virtual machine: it warns
for five minutes. One that another driver holds (given to a virtual machine, `nouveau`) is neither
lost nor missing, and virtual functions (vGPU) are no GPUs of the bus. 7 of 8 GPUs is a failure, not
a smaller node: jobs fail there in ways that nobody can read (NVIDIA/aicr#1858).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.backends.base import Gpu
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.counters import LASTS_KEY, boot_clock, lasts
from probes.each_gpu import equal, of, option_number, settled
from probes.errors import BackendError, BackendMissing, GpuLost, Skipped

_KEY = "seen"
#: So long may a GPU be held by no driver, in seconds. Option ``unbound_s``.
UNBOUND_S = 300.0
#: NVML: the GPU needs a reset before it answers.
_RESET_REQUIRED = 16


class GpuCount:
    """Check ``gpu-count``."""

    spec = CheckSpec(
        "gpu-count", "Are all GPUs there, and does the driver open each?",
        Tier.BOOT, Cadence.LIGHT, deadline_s=30,
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        """``clock`` gives seconds since boot."""
        self._clock = clock

    def run(self, context: Context) -> Iterator[Finding]:
        """A finding for each GPU that is known of, and one for the node. Option ``unbound_s``: so
        long may a GPU be without a driver."""
        context.keep[LASTS_KEY] = {}
        yield from settled(
            context,
            lambda: list(self._look(context)),
            lambda found: any(each.outcome is Outcome.FAIL for each in found),
        )

    def _look(self, context: Context) -> Iterator[Finding]:
        there = context.backend.pci_gpus()
        on_bus = {each.device for each in there if not each.foreign}
        unbound = {each.device for each in there if not each.driver}
        away = {each.device for each in there if each.foreign}
        try:
            gpus = context.backend.gpus()
            reasons = [f"GPU {each.index}: {each.reason}" for each in context.backend.unopened()]
        except BackendMissing as error:
            if on_bus or not _expected(context):
                raise Skipped(f"no driver to ask ({error}); driver tells of it") from error
            gpus, reasons = (), []
        for gpu in gpus:
            yield _answer(context, gpu)
        opened = {gpu.device for gpu in gpus}
        seen = (_seen(context) | on_bus | opened) - (away - opened)
        context.keep[_KEY] = {"boot": context.boot_id, "devices": sorted(seen)}
        missing = sorted(seen - opened)
        for device in missing:
            if device in unbound and device in on_bus:
                since_s = lasts(context, device, self._clock())
                if since_s < option_number(context, "unbound_s", UNBOUND_S):
                    message = f"GPU {device} is held by no driver, for {since_s:.0f} s"
                    yield Finding(Outcome.WARN, message, device)
                    continue
            where = (
                "on the PCI bus, but the driver does not open it"
                if device in on_bus
                else ("gone from the PCI bus since this boot")
            )
            why = f" ({'; '.join(reasons)})" if reasons and device in on_bus else ""
            yield Finding(
                Outcome.FAIL, f"GPU {device} is {where}{why}", device,
                severity="fatal", remedy="reboot",
            )  # fmt: skip
        lent = {each.device for each in there if each.lent} - opened
        yield _whole(context, len(gpus), len(missing) + len(lent), len(seen))


def _answer(context: Context, gpu: Gpu) -> Finding:
    try:
        context.backend.temperatures(gpu)
    except GpuLost as error:
        remedy = "reset_gpu" if error.code == _RESET_REQUIRED else "reboot"
        return of(gpu, Outcome.FAIL, str(error), severity="fatal", remedy=remedy)
    except BackendError as error:
        return of(gpu, Outcome.ERROR, str(error))
    return of(gpu, Outcome.PASS, f"{gpu.name} answers", detail={"model": gpu.name})


def _whole(context: Context, have: int, named: int, seen: int) -> Finding:
    """Of the node: only GPUs that no finding names, and no virtual machine has, are missing."""
    expected = _expected(context)
    source = "expected" if expected is not None else "seen since boot"
    wanted = seen if expected is None else expected
    count = equal("gpus", have, "count", wanted, source)
    message = f"{have} of {wanted} GPUs ({source})"
    if have + named < wanted:
        unnamed = wanted - have - named
        return Finding(
            Outcome.FAIL, f"{message}: {unnamed} not even on the PCI bus", "", (count,),
            severity="fatal", remedy="reboot",
        )  # fmt: skip
    if have == wanted and have == 0:
        raise Skipped("no GPU on this node")
    if have > wanted:
        return Finding(Outcome.WARN, f"{message}: more than there should be", "", (count,))
    if have < wanted:
        return Finding(
            Outcome.SKIP, f"{message}: told by the missing ones, or lent to a machine", "", (count,)
        )
    return Finding(Outcome.PASS, message, "", (count,))


def _expected(context: Context) -> int | None:
    if "expected" in context.options:
        return int(option_number(context, "expected", 0))
    return context.node.expected_gpus


def _seen(context: Context) -> set[str]:
    kept = context.before.get(_KEY)
    if not isinstance(kept, dict) or kept.get("boot") != context.boot_id:
        return set()
    devices = kept.get("devices")
    return (
        {each for each in devices if isinstance(each, str)} if isinstance(devices, list) else set()
    )
