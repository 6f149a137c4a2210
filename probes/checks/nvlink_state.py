"""Are all NVLinks of a GPU up?

How many should be: on an SXM board all that the model has; elsewhere (bridges, superchips, unknown
models) as many as the GPU had since this boot, or as most of its siblings have. An inactive link is
degraded; a reset of the GPU trains it anew.

No links at all is a skip where that can be meant: no bridge, a single GPU (a virtual machine with
one GPU of a board), or a partitioned GPU, which uses none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from probes.backends.base import Gpu
from probes.backends.readings import NvLink
from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import all_gpus, at_least, each_gpu, not_supported, of, settled
from probes.errors import CheckError
from probes.thresholds.hardware import shipped

_KEY = "most"


class NvLinkState:
    """Check ``nvlink-state``."""

    spec = CheckSpec(
        "nvlink-state", "Are all NVLinks of a GPU up?",
        Tier.LIGHT, Cadence.LIGHT, deadline_s=60,
    )  # fmt: skip

    def run(self, context: Context) -> Iterator[Finding]:
        """One finding for each GPU."""
        counts = _counts(context)
        context.keep[_KEY] = {"boot": context.boot_id, **_most(context, counts)}
        return each_gpu(context, lambda gpu: [_look(context, gpu, counts)])


def _look(context: Context, gpu: Gpu, counts: Mapping[Gpu, int]) -> Finding:
    links = settled(context, lambda: context.backend.nvlinks(gpu), lambda now: not _all_up(now))
    if not links or gpu.mig:
        return not_supported(gpu, "NVLink")
    active = sum(link.active for link in links)
    wanted, source = _wanted(context, gpu, links, counts)
    if not active and not wanted:
        return of(gpu, Outcome.SKIP, f"none of {len(links)} NVLinks is in use")
    values = [at_least("links", active, "count", wanted, source)]
    words = f"{active} of {wanted} NVLinks up"
    if active < wanted:
        down = ", ".join(str(link.index) for link in links if not link.active)
        detail = {"links": down}
        message = f"{words}; down: {down}"
        return of(gpu, Outcome.FAIL, message, values, remedy="reset_gpu", detail=detail)
    return of(gpu, Outcome.PASS, words, values)


def _wanted(
    context: Context, gpu: Gpu, links: tuple[NvLink, ...], counts: Mapping[Gpu, int]
) -> tuple[int, str]:
    model = shipped().model_of(gpu.pci_id, gpu.name)
    if model is not None and model.form == "sxm":
        if len(counts) < 2 and not any(link.active for link in links):
            return 0, "a single GPU"
        return model.nvlinks, model.source
    siblings = sorted(count for other, count in counts.items() if other.name == gpu.name)
    usual = siblings[len(siblings) // 2] if len(siblings) > 2 else 0
    seen = _most(context, counts).get(gpu.uuid, 0)
    return (seen, "seen since boot") if seen >= usual else (usual, "GPUs of the same name")


def _all_up(links: tuple[NvLink, ...]) -> bool:
    return all(link.active for link in links) or not any(link.active for link in links)


def _counts(context: Context) -> dict[Gpu, int]:
    """Active links of each GPU that can be asked."""
    counts = {}
    for gpu in all_gpus(context):
        try:
            counts[gpu] = sum(link.active for link in context.backend.nvlinks(gpu))
        except CheckError:
            continue
    return counts


def _most(context: Context, counts: Mapping[Gpu, int]) -> dict[str, int]:
    """Most active links since this boot, by UUID."""
    kept = context.before.get(_KEY)
    same_boot = isinstance(kept, dict) and kept.get("boot") == context.boot_id
    before = kept if isinstance(kept, dict) and same_boot else {}
    most = {uuid: count for uuid, count in before.items() if isinstance(count, int)}
    for gpu, count in counts.items():
        most[gpu.uuid] = max(count, most.get(gpu.uuid, 0))
    return most
