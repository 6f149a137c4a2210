"""What does an all-reduce over two nodes say of the pair? (``probes/checks/nccl_pair.py``)

Invariant: results are text of a node, so that what does not fit is ``NOT_MEASURED``.
"""

from __future__ import annotations

from collections.abc import Iterable

from konduktor_health.core.pair_tests import PairOutcome, PairResult, PairTest
from parsers.printable import printable
from probes.report import Result

CHECK = "nccl-pair"
_OUTCOMES = {"pass": PairOutcome.OK, "warn": PairOutcome.SLOW}


def nccl_outcome(
    test: PairTest, interface: str, address: str, results: Iterable[Result]
) -> PairResult:
    """What the client's all-reduce with the server at ``address`` came to. Wrong sums are as bad as
    nothing at all."""
    outcome, text = PairOutcome.NOT_MEASURED, "no all-reduce with it was reported"
    for each in results:
        if each.check != CHECK:
            continue
        text = each.message
        if address and each.detail.get("peer") == address:
            wrong = any(m.name == "wrong" and m.value > 0 for m in each.measurements)
            outcome = _OUTCOMES.get(each.outcome, PairOutcome.NOT_MEASURED)
            if wrong and outcome.bad:
                outcome = PairOutcome.FAILED
    return PairResult(test.client, test.server, interface, outcome, printable(text, 200))
