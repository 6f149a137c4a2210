"""Are all NVLinks of a GPU up?

A link that was up since this boot and is not any more fails. How many there have to be from the
beginning is known on a whole board only: all that the model has. Elsewhere (bridges, single GPUs,
boards that are split between virtual machines, unknown models) links may be inactive for ever,
since what is at their other end is another machine's, or nothing: there a GPU that has fewer than
most of its siblings is a warning. An inactive link is degraded; a reset of the GPU trains it anew.

A board is whole with eight GPUs, with all its NVSwitches, or with four GPUs of which one has all
links; not where a GPU of the node is given to a virtual machine: links that end then warn.

No links at all is a skip where that can be meant: no bridge, a single GPU (a virtual machine with
one GPU of a board), no link at any GPU and no NVSwitch to be seen (NVLink is switched off), or a
partitioned GPU, which uses none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from probes.backends.base import Gpu
from probes.backends.readings import NvLink
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import all_gpus, at_least, each_gpu, not_supported, of, settled
from probes.errors import CheckError
from probes.measuring.board import is_whole
from probes.thresholds.hardware import shipped

_KEY = "most"
_SEEN = "seen since boot"


class NvLinkState:
    """Check ``nvlink-state``."""

    spec = CheckSpec(
        "nvlink-state", "Are all NVLinks of a GPU up?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        now = _up_now(context)
        seen = _seen(context)
        for gpu, up in now.items():
            seen[gpu.uuid] = seen.get(gpu.uuid, _Seen()).and_now(up)
        kept = {uuid: {"links": sorted(s.links), "count": s.count} for uuid, s in seen.items()}
        context.keep[_KEY] = {"boot": context.boot_id, **kept}
        return each_gpu(context, lambda gpu: [_look(context, gpu, now, seen)])


@dataclass(frozen=True, slots=True)
class _Seen:
    """Links of a GPU that were up since boot; of older agents only how many is known."""

    links: frozenset[int] = frozenset()
    count: int = 0

    def and_now(self, up: frozenset[int]) -> _Seen:
        links = self.links | up
        return _Seen(links, max(self.count, len(links)))


@dataclass(frozen=True, slots=True)
class _Wanted:
    links: int
    source: str
    accuses: bool = True  # fewer are a fault, and not only unusual


def _look(
    context: Context, gpu: Gpu, now: Mapping[Gpu, frozenset[int]], seen: Mapping[str, _Seen]
) -> Finding:
    def wanted_of(links: tuple[NvLink, ...]) -> _Wanted:
        return _wanted(context, gpu, _up(links), now, seen.get(gpu.uuid, _Seen()))

    links = settled(
        context,
        lambda: context.backend.nvlinks(gpu),
        lambda links: not gpu.mig and len(_up(links)) < wanted_of(links).links,
    )
    if not links or gpu.mig:
        return not_supported(gpu, "NVLink")
    wanted, active = wanted_of(links), len(_up(links))
    if not active and not wanted.links:
        return of(gpu, Outcome.SKIP, f"none of {len(links)} NVLinks is in use")
    values = [at_least("links", active, "count", wanted.links, wanted.source)]
    words = f"{active} of {wanted.links} NVLinks up"
    if active >= wanted.links:
        return of(gpu, Outcome.PASS, f"{words} ({wanted.source})", values)
    down = ", ".join(str(link.index) for link in links if not link.active)
    detail = {"links": down}
    message = f"{words} ({wanted.source}); down: {down}"
    if not wanted.accuses:
        return of(gpu, Outcome.WARN, message, values, detail=detail)
    return of(gpu, Outcome.FAIL, message, values, remedy="reset_gpu", detail=detail)


def _wanted(
    context: Context,
    gpu: Gpu,
    up: frozenset[int],
    now: Mapping[Gpu, frozenset[int]],
    seen: _Seen,
) -> _Wanted:
    """All of the model on a whole board; else those that were seen, else as the siblings have."""
    model = shipped().model_of(gpu.pci_id, gpu.name)
    alike = sorted(len(its) for other, its in now.items() if other.name == gpu.name)
    if model is not None and model.form != "pcie":
        most = alike[-1] if alike else 0
        used = bool(most or seen.count or context.backend.nvswitches())
        if used and is_whole(context.backend, model, len(now), most):
            return _Wanted(model.nvlinks, model.source)
    known = max(seen.count, len(seen.links | up))
    if known > len(up):
        lends = any(each.lent for each in context.backend.pci_gpus())
        return _Wanted(known, _SEEN, accuses=not lends)
    usual = alike[len(alike) // 2] if len(alike) > 2 else 0
    if usual > len(up):
        return _Wanted(usual, "GPUs of the same name", accuses=False)
    return _Wanted(len(up), _SEEN)


def _up(links: tuple[NvLink, ...]) -> frozenset[int]:
    return frozenset(link.index for link in links if link.active)


def _up_now(context: Context) -> dict[Gpu, frozenset[int]]:
    """Active links of each GPU that can be asked and uses any."""
    now = {}
    for gpu in all_gpus(context):
        if gpu.mig:
            continue
        try:
            now[gpu] = _up(context.backend.nvlinks(gpu))
        except CheckError:
            continue
    return now


def _seen(context: Context) -> dict[str, _Seen]:
    """By UUID, in this boot."""
    kept = context.before.get(_KEY)
    if not isinstance(kept, dict) or kept.get("boot") != context.boot_id:
        return {}
    seen = {}
    for uuid, each in kept.items():
        match each:
            case bool():
                continue
            case int():  # older agents
                seen[uuid] = _Seen(count=each)
            case {"links": list(links), "count": int(count)}:
                seen[uuid] = _Seen(frozenset(n for n in links if isinstance(n, int)), count)
    return seen
