"""What the benchmark of the real node says, without a node."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import node
from benchmarks.command import Options
from benchmarks.release import Measured, Use, container_id, processes_of

ID = "3f" * 32


def _measured(**changed: Any) -> Measured:
    idle = Use(rss_mib=60.0, most_mib=70.0, cpu_ms_per_s=5.0)
    values: dict[str, Any] = {
        "leader": idle,
        "standby": idle,
        "kmsg": Use(rss_mib=20.0, most_mib=21.0, cpu_ms_per_s=0.5),
        "echo_to_taint_s": [1.0, 2.0, 6.0],
        "kubectl_s": [0.2, 0.3, 0.4],
        "load": 0.5,
    }
    return Measured(**{**values, **changed})


def test_figures_of_a_measured_node_keep_their_bars_and_show_median_and_worst() -> None:
    figures = {figure.name: figure for figure in node.pods(_measured(), 60)}
    assert (figures["node_controller_vmrss"].value, figures["node_kmsg_vmrss"].value) == (60, 20)
    assert all(figure.holds is not False for figure in figures.values())
    assert figures["node_echo_to_taint"].value == 2.0
    assert figures["node_echo_to_taint_worst"].value == 6.0


@pytest.mark.parametrize(
    ("container", "mib", "broken"),
    [
        ("leader", 121.0, "node_controller_vmrss"),
        ("standby", 121.0, "node_standby_vmrss"),
        ("kmsg", 46.0, "node_kmsg_vmrss"),
    ],
)
def test_too_much_memory_breaks_the_bar_of_that_container(
    container: str, mib: float, broken: str
) -> None:
    measured = _measured(**{container: Use(rss_mib=mib, most_mib=mib, cpu_ms_per_s=1.0)})
    assert [each.name for each in node.pods(measured, 60) if each.holds is False] == [broken]


def test_what_cannot_be_measured_has_the_same_names_no_value_and_the_reason() -> None:
    figures = [*node.sizes([], "needs root"), *node.pods(None, 60, "needs root")]
    known = [*node.sizes([]), *node.pods(_measured(), 60)]
    assert [figure.name for figure in figures] == [figure.name for figure in known]
    assert {(figure.value, figure.note) for figure in figures} == {(None, "needs root")}


def test_without_root_every_figure_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    figures = list(node.measure(Options()))
    assert len(figures) == 12
    assert {(figure.value, figure.note) for figure in figures} == {(None, "needs root")}


def test_image_sizes_are_told_apart_and_in_mib() -> None:
    images = [
        {"name": "host:5000/team/konduktor-health-probe:1", "base": "b", "archive_bytes": 2 << 20},
        {"name": "localhost/konduktor-health:1", "base": "b", "archive_bytes": 3 << 20},
    ]
    sized = [{**image, "unpacked_bytes": 10 << 20} for image in images]
    assert {figure.name: figure.value for figure in node.sizes(sized)} == {
        "image_controller_archive": 3,
        "image_controller_unpacked": 10,
        "image_probe_archive": 2,
        "image_probe_unpacked": 10,
    }


def test_measured_values_survive_the_way_between_the_processes(tmp_path: Path) -> None:
    _measured().write(tmp_path / "measured.json")
    assert Measured.read(tmp_path / "measured.json") == _measured()


def test_processes_of_a_container_are_those_in_its_cgroup(tmp_path: Path) -> None:
    groups = {"1": "/", "20": f"/kh-x/pod1/{ID}", "7": f"/kh-x/pod1/{ID}", "8": "/kh-x/pod1/ab"}
    for pid, group in groups.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cgroup").write_text(f"1:cpu:{group}\n", encoding="utf-8")
    (tmp_path / "9").mkdir()  # ended meanwhile
    (tmp_path / "self").mkdir()
    assert processes_of(ID, tmp_path) == [7, 20]
    with pytest.raises(LookupError):
        processes_of("77" * 32, tmp_path)


def test_container_that_was_not_started_is_not_taken_for_every_process() -> None:
    def pod(*ids: str, name: str = "kmsg") -> dict[str, Any]:
        statuses = [{"name": name, "containerID": one} for one in ids]
        statuses.append({"name": "agent", "containerID": "containerd://ab"})
        return {"metadata": {"name": "pod"}, "status": {"containerStatuses": statuses}}

    assert container_id(pod(f"containerd://{ID}"), "kmsg") == ID
    two = pod("containerd://a", "containerd://b")
    for wrong in (pod(), pod(""), pod("containerd://"), two, pod(f"containerd://{ID}", name="x")):
        with pytest.raises(ValueError, match="pod"):
            container_id(wrong, "kmsg")


def test_child_that_fails_or_takes_too_long_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 1: no node here"):
        node.finish([sys.executable, "-c", "exit('no node here')"], tmp_path / "log", 20)
    code = "import time; print('slow', flush=True); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"not done within 1 s: slow"):
        node.finish([sys.executable, "-c", code], tmp_path / "log", 1)
    assert time.monotonic() - began < 20


def test_child_may_clean_up_when_the_benchmark_is_interrupted(tmp_path: Path) -> None:
    made, log = tmp_path / "made", tmp_path / "log"
    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        "made = pathlib.Path(sys.argv[1]); made.touch()\n"
        "try: time.sleep(60)\n"
        "finally: made.unlink()\n"
    )

    def interrupt() -> None:
        while not made.exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        node.finish([sys.executable, "-c", code, str(made)], log, 20)
    assert not made.exists()
