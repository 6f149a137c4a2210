"""The guide to policies: every example is played, and its mistake is told as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from konduktor_health.adapters.policy_file import Reader
from konduktor_health.policy.cases import play
from konduktor_health.policy.document import PolicyDocument
from konduktor_health.policy.known import Known
from tests.support.controller import cli

GUIDE = Path(__file__).parents[3] / "docs/guides/write-a-policy.md"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.S | re.M)
    return [each for each in found if not each.startswith("# my-values.yaml")]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_example_is_right_and_does_what_it_says(text: str) -> None:
    found = Reader().judge(text.encode())
    assert [str(problem) for problem in found.problems] == []
    assert isinstance(found.document, PolicyDocument)
    outcomes = play(found.policy, found.document.tests, Known())
    assert outcomes, "an example without cases says nothing"
    assert [(each.number, dict(each.wrong)) for each in outcomes if each.wrong] == []


def test_the_mistake_of_the_guide_is_told_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    wrong = blocks("yaml")[0].replace("effect: PreferNoSchedule\n", "effect: PreferNoSchedul\n", 1)
    path.write_text(wrong)
    done = cli("policy", "check", str(path))
    assert done.returncode == 2
    for line in blocks("text")[0].splitlines():
        assert line in done.stderr.replace(str(path), path.name), line
