"""Does ``demo --story probes`` tell its story, with agents that end when it does?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from konduktor_health.sandbox.probe_scenes import HANGING, PARTS, ROUNDS

STORY = [sys.executable, "-m", "konduktor_health", "demo", "--story", "probes"]
MOST_S = 90


def start(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*STORY, "--exit"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )


def processes_of(folder: Path) -> list[str]:
    """Processes that have a file of this folder as an argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(process.name)
    return found


def test_each_kind_of_fault_taints_with_its_measurement_and_clears_by_clean_rounds(
    tmp_path: Path,
) -> None:
    with start(tmp_path) as demo:
        try:
            said, _ = demo.communicate(timeout=MOST_S)
        finally:
            demo.kill()

    assert demo.returncode == 0, said
    for part in PARTS:
        steps = re.findall(rf"{part.node} is (tainted|schedulable again)", said)
        assert steps == ["tainted", "schedulable again"] * len(part.acts), said
    for act in (act for part in PARTS for act in part.acts):
        for scene in act.scenes:
            device, fault_id = scene.key
            told = f"{fault_id} on {device or 'the node'}, {scene.severity.value}\n"
            evidence = [text.partition("\n")[0] for text in said.split(told)[1:]]
            assert any(all(word in text for word in scene.words) for text in evidence), scene
    rounds = re.findall(r"rounds .* passed at (.*)", said)
    assert [each.count(":") // 2 for each in rounds] == [ROUNDS] * sum(
        len(part.acts) for part in PARTS
    )
    assert f"{HANGING.node} is not observed by probes" in said
    assert "timeout    gpu-count: did not end within 30 s" in said
    assert f"(no agent) and {HANGING.node} (a hang)" in said
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_ctrl_c_in_the_story_ends_it_and_all_agents(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()  # ready
        assert len(processes_of(tmp_path)) >= len(PARTS) + 1
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=30)

    assert demo.returncode == 130, said
    assert said.endswith("interrupted\n")
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []
