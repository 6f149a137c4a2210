"""What does DCGM's own diagnostic say of each GPU, at levels 1 to 4?

Level 1 looks at the node's software (seconds), 2 also at memory and PCIe (minutes), 3 computes and
stresses (tens of minutes), 4 tests the memory thoroughly (an hour or two). From level 2 on GPUs
have to be idle. Which test is how bad is data: ``probes.tools.dcgm_judgement``.

Invariant: which device has which GPU id is DCGM's to say (``dcgmi discovery``). Without its table
all that was found is of the node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from probes.check import Cadence, CheckSpec, Context, Finding, Outcome, Tier
from probes.each_gpu import all_gpus
from probes.errors import CheckError
from probes.measuring.dcgm_verdict import Verdict, tests_that, verdict_at, verdict_of
from probes.tools.dcgm_discovery import parse_discovery
from probes.tools.dcgm_figures import figures
from probes.tools.dcgmi import Diag, DiagResult, parse_diag
from probes.tools.programs import run_program

_DISCOVERY_S = 30.0
_MARGIN_S = 10.0
_HOST = re.compile(r"(?:unix://)?[A-Za-z0-9/][A-Za-z0-9._:/-]{0,200}")


@dataclass(frozen=True, slots=True)
class DcgmDiag:
    """The diagnostic of one level. Options: ``host`` (of the host engine), ``program``."""

    spec: CheckSpec
    level: int

    def run(self, context: Context) -> Iterable[Finding]:
        """One finding for each GPU, and one of the node where there is something to say."""
        known = {gpu.device for gpu in all_gpus(context)}
        devices, why_unknown = _devices(context)
        diag = parse_diag(
            run_program(
                context,
                "dcgmi",
                ("diag", *_host(context), "-j", "-r", str(self.level)),
                deadline_s=self.spec.deadline_s - _DISCOVERY_S - _MARGIN_S,
            )
        )
        if why_unknown:
            yield self._without_devices(diag, why_unknown)
            return
        results: dict[str, list[DiagResult]] = {device: [] for device in devices.values()}
        of_node: list[DiagResult] = []
        for result in diag.results:
            device = devices.get(result.gpu) if result.gpu is not None else None
            (of_node if device is None else results[device]).append(result)
        for device, own in sorted(results.items()):
            yield self._finding(verdict_at(self.level, own, of_node), device, own, diag)
        for device in sorted(known - results.keys()):
            yield Finding(Outcome.ERROR, "DCGM does not know this GPU", device)
        verdict = verdict_of(of_node)
        if verdict.outcome is not Outcome.PASS:
            yield self._finding(verdict, "", of_node, diag)

    def _without_devices(self, diag: Diag, why: str) -> Finding:
        """All of it is the node's. DCGM's own ids are told: they are all that is known."""
        gpus = {result.gpu for result in diag.results if result.gpu is not None}
        of_node = [result for result in diag.results if result.gpu is None]
        verdicts = [
            verdict_at(self.level, [r for r in diag.results if r.gpu == gpu], of_node)
            for gpu in sorted(gpus)
        ] or [verdict_at(self.level, of_node)]
        named = [
            replace(result, test=f"DCGM's GPU {result.gpu}: {result.test}")
            for result in diag.results
            if result.gpu is not None
        ]
        worst = verdict_of(diag.results)
        if worst.outcome is Outcome.PASS:
            order = (Outcome.ERROR, Outcome.SKIP, Outcome.WARN, Outcome.PASS)
            worst = min(verdicts, key=lambda verdict: order.index(verdict.outcome))
        reasons = verdict_of([*of_node, *named]).reasons or worst.reasons
        told = replace(worst, reasons=(*reasons, f"which GPU is which is not known: {why}"))
        return self._finding(told, "", diag.results, diag)

    def _finding(
        self, verdict: Verdict, device: str, results: Sequence[DiagResult], diag: Diag
    ) -> Finding:
        texts = list(verdict.reasons)
        passed, skipped = tests_that(Outcome.PASS, results), tests_that(Outcome.SKIP, results)
        if passed and verdict.outcome in (Outcome.PASS, Outcome.WARN):
            texts.append(f"passed: {', '.join(passed)}")
        elif verdict.outcome is Outcome.PASS:
            texts.append("passed: tests of the node as a whole")
        if skipped:
            texts.append(f"not run: {', '.join(skipped)}")
        return Finding(
            verdict.outcome,
            "; ".join(texts),
            device,
            figures(line for result in results for line in result.info) if device else (),
            severity=verdict.severity,
            remedy=verdict.remedy,
            under_load=self.level > 1,
            detail={"level": str(self.level), **_told(results, diag)},
        )


def _told(results: Sequence[DiagResult], diag: Diag) -> dict[str, str]:
    """What else is known: DCGM's version, its own ids of these GPUs, which tests failed."""
    failed = tests_that(Outcome.FAIL, results)
    ids = sorted({result.gpu for result in results if result.gpu is not None})
    told = {
        "dcgm": diag.version,
        "dcgm_gpus": ",".join(map(str, ids)),
        "failed": ",".join(failed),
    }
    return {name: text for name, text in told.items() if text}


def _devices(context: Context) -> tuple[dict[int, str], str]:
    """Devices by GPU id; without them, why not."""
    try:
        output = run_program(
            context, "dcgmi", ("discovery", *_host(context), "-l"), deadline_s=_DISCOVERY_S
        )
        return parse_discovery(output), ""
    except CheckError as error:
        return {}, str(error)


def _host(context: Context) -> tuple[str, ...]:
    host = context.options.get("host", "")
    if not host:
        return ()
    if not _HOST.fullmatch(host):
        raise CheckError(f"option host={host}: it has to be HOST, HOST:PORT or unix://PATH")
    return ("--host", host)


def _spec(level: int, title: str, cadence: Cadence, deadline_s: float) -> CheckSpec:
    return CheckSpec(
        name=f"dcgm-{level}",
        title=title,
        tier=Tier.LIGHT if level == 1 else Tier.INVASIVE,
        cadence=cadence,
        deadline_s=deadline_s,
        needs_idle_gpus=level > 1,
    )


LEVEL_1 = DcgmDiag(
    _spec(1, "Is the node's GPU software well (DCGM level 1)?", Cadence.HOURLY, 180.0), 1
)
LEVEL_2 = DcgmDiag(
    _spec(2, "Are memory and PCIe of the GPUs well (DCGM level 2)?", Cadence.NEVER, 900.0), 2
)
#: What Autopilot runs every 4 hours on idle nodes.
LEVEL_3 = DcgmDiag(
    _spec(3, "Do the GPUs stand a stress test (DCGM level 3)?", Cadence.INVASIVE, 3600.0), 3
)
LEVEL_4 = DcgmDiag(
    _spec(4, "Do the GPUs stand the long diagnostic (DCGM level 4)?", Cadence.NEVER, 10800.0), 4
)
