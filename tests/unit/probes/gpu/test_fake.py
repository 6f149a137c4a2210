"""The fake backend: any model, any fault at run time, and what a wrong state file says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.backends.choose import choose
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FAULTS, NODE_FAULTS, FakeState, clear, inject, main, read
from probes.backends.nvml import Nvml
from probes.backends.sysfs import Sysfs
from probes.check import Outcome
from probes.errors import CheckError, GpuLost, SettingError
from probes.registry import CHECKS
from probes.thresholds.hardware import shipped
from tests.support.gpus import Node, outcomes

MODELS = [model.model for model in shipped().models]


# ---------------------------------------------------------------- GPUs


@pytest.mark.parametrize("model", MODELS)
def test_gpus_of_a_model_are_what_the_model_is(model: str) -> None:
    gpus = FakeBackend(model, 8).gpus()

    assert len({gpu.device for gpu in gpus}) == len({gpu.uuid for gpu in gpus}) == 8
    for gpu in gpus:
        known = shipped().model_of(gpu.pci_id, "")
        assert known is not None
        assert known.model == model
        assert shipped().model_of("", gpu.name) == known


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ("H100", "H100-SXM"), ("h200", "H200-SXM"), ("A100", "A100-SXM-80GB"), ("B200", "B200"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"), ("Tesla T4", "T4"), ("L4", "L4"),
        ("NVIDIA-H100-80GB-HBM3", "H100-SXM"),
    ],
)  # fmt: skip
def test_a_model_is_known_by_the_names_that_people_and_labels_have(asked: str, model: str) -> None:
    assert FakeBackend(asked, 1).model.model == model


def test_a_model_that_nobody_knows_has_the_name_that_was_asked_for() -> None:
    (gpu,) = FakeBackend("Acme X1", 1).gpus()

    assert gpu.name == "Acme X1"
    assert shipped().model_of(gpu.pci_id, gpu.name) is None


def test_the_same_seed_gives_the_same_node_and_another_seed_another() -> None:
    one, same, other = FakeBackend(seed=1), FakeBackend(seed=1), FakeBackend(seed=2)
    (gpu, *_) = one.gpus()

    assert one.gpus() == same.gpus() != other.gpus()
    h2d = "pcie-bandwidth/h2d"
    assert one.measured(h2d, gpu) == same.measured(h2d, gpu) != other.measured(h2d, gpu)


def test_a_fault_is_there_with_the_next_question_and_gone_when_it_is_cleared(node: Node) -> None:
    (gpu, *_) = node.backend.gpus()
    node.inject(gpu.device, temperature_c=97)
    assert node.backend.temperatures(gpu).gpu_c == 97

    node.clear(gpu.device, "temperature_c")
    assert node.backend.temperatures(gpu).gpu_c != 97


def test_what_is_said_of_one_gpu_outranks_what_is_said_of_all(node: Node) -> None:
    node.inject("*", temperature_c=60)
    node.inject(1, temperature_c=70)
    gpus = node.backend.gpus()

    assert [node.backend.temperatures(gpu).gpu_c for gpu in gpus[:3]] == [60, 70, 60]


def test_a_lost_gpu_leaves_the_driver_and_stays_on_the_bus(node: Node) -> None:
    gpu = node.backend.gpus()[3]
    node.inject(3, lost=True)

    assert gpu not in node.backend.gpus()
    assert [each.index for each in node.backend.unopened()] == [3]
    assert gpu.device in {each.device for each in node.backend.pci_gpus()}
    with pytest.raises(GpuLost):
        node.backend.power(gpu)


def test_a_hang_lasts_until_it_is_cleared(node: Node) -> None:
    (gpu, *_) = node.backend.gpus()
    node.inject(0, hang=True)
    answered = threading.Event()

    def ask() -> None:
        node.backend.power(gpu)
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    assert not answered.wait(0.3)
    node.clear(0)
    assert answered.wait(20)


def test_a_rate_counts_from_its_injection(node: Node) -> None:
    (gpu, *_) = node.backend.gpus()
    node.inject(0, pcie_replays_per_s=2)
    assert node.backend.pcie_counters(gpu)["replays"] == 0

    node.clock.now_s += 30
    assert node.backend.pcie_counters(gpu)["replays"] == 60


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("pcie_bandwidth_factor", "pcie-bandwidth/h2d"),
        ("pcie_bandwidth_factor", "pcie-bandwidth/d2h"),
        ("nvlink_bandwidth_factor", "p2p-bandwidth/p2p"),
        ("nvlink_bandwidth_factor", "nvlink-bandwidth/p2p"),
        ("nvlink_bandwidth_factor", "nccl-node/busbw"),
        ("hbm_bandwidth_factor", "hbm-bandwidth/hbm"),
        ("hbm_bandwidth_factor", "gpu-arithmetic/daxpy"),
        ("compute_factor", "gpu-arithmetic/dgemm"),
    ],
)
def test_a_slow_part_is_slow_in_its_own_measurement_only(node: Node, fault: str, name: str) -> None:
    gpu, other = node.backend.gpus()[:2]
    good = node.backend.measured(name, gpu)
    untouched = node.backend.measured(name, other)
    node.inject(0, **{fault: 0.25})

    assert node.backend.measured(name, gpu) == pytest.approx(good / 4)
    assert node.backend.measured(name, other) == untouched


def test_lanes_that_are_missing_make_the_copies_slow(node: Node) -> None:
    (gpu, *_) = node.backend.gpus()
    good = node.backend.measured("pcie-bandwidth/h2d", gpu)
    node.inject(0, pcie_width=4)

    assert node.backend.measured("pcie-bandwidth/h2d", gpu) == pytest.approx(good / 4)


def test_wrong_results_and_memory_errors_are_counted(node: Node) -> None:
    (gpu, *_) = node.backend.gpus()
    node.inject(0, wrong_results=3, memory_errors=2)

    assert node.backend.measured("gpu-arithmetic/errors", gpu) == 3
    assert node.backend.measured("gpu-memory/errors", gpu) == 2


def test_a_measurement_that_it_does_not_have_is_an_error(node: Node) -> None:
    with pytest.raises(CheckError, match="pcie-bandwith"):
        node.backend.measured("pcie-bandwith/h2d", node.backend.gpus()[0])


#: What each fault has to do to some check of the registry, or to a measurement; by example value.
EXAMPLES: dict[str, object] = {
    "lost": True, "off_bus": True, "answers_lost": True, "error": "Unknown Error",
    "temperature_c": 99, "memory_temperature_c": 110, "power_w": 900, "power_limit_w": 300,
    "power_cables_missing": True, "clock_reasons": ["hw_thermal"], "ecc_disabled": True,
    "ecc_volatile_dram_corrected": 10**8, "ecc_volatile_dram_uncorrected": 1,
    "ecc_volatile_sram_corrected": 10**5, "ecc_volatile_sram_uncorrected": 1,
    "sram_threshold_exceeded": True, "remapped_uncorrected": 600, "remap_pending": True,
    "remap_failed": True, "retired_single_bit": 64, "retired_double_bit": 64,
    "retired_pending": True, "recovery_action": "gpu_reset", "persistence_off": True,
    "pcie_width": 8, "pcie_generation": 1, "aer_nonfatal": 1, "aer_fatal": 1,
    "pcie_replays_per_s": 5, "nvlinks_down": [1], "nvlink_crc_per_s": 500,
    "nvlink_recoveries_per_s": 5, "fabric_state": "not_started", "fabric_status": "Timeout",
    "fabric_problems": ["route unhealthy"],
    "processes": [{"pid": 9, "state": "D"}], "mig": True,
}  # fmt: skip
#: Only told, or not of a check of this registry's GPU state.
TOLD = {
    "hang", "unsupported", "busy", "remapped_corrected", "aer_correctable_per_s",
    "pcie_bandwidth_factor", "nvlink_bandwidth_factor", "hbm_bandwidth_factor", "compute_factor",
    "wrong_results", "memory_errors",
    "ecc_aggregate_dram_corrected", "ecc_aggregate_dram_uncorrected",
    "ecc_aggregate_sram_corrected", "ecc_aggregate_sram_uncorrected",
}  # fmt: skip


def test_the_examples_are_all_faults_there_are() -> None:
    assert set(EXAMPLES) | TOLD == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(EXAMPLES))
def test_each_fault_changes_what_some_check_finds(
    fault: str, make_node: Callable[..., Node]
) -> None:
    node = make_node("V100" if fault.startswith("retired") else "H100", 2)
    device = node.backend.gpus()[1].device
    if fault == "pcie_generation":
        node.inject(1, busy=True)
    asked = [check for check in CHECKS if check.spec.name.startswith(
        ("gpu-count", "gpu-temp", "gpu-power", "gpu-clocks", "gpu-ecc", "gpu-re", "gpu-pers",
         "pcie-link", "pcie-errors", "nvlink-state", "nvlink-errors", "nvlink-fabric",
         "gpu-processes")
    )]  # fmt: skip

    def found() -> dict[str, Outcome | None]:
        return {check.spec.name: outcomes(node.run(check)).get(device) for check in asked}

    found()
    node.clock.now_s += 1
    good = found()
    node.inject(1, **{fault: EXAMPLES[fault]})
    node.clock.now_s += 3600

    assert found() != good


# ---------------------------------------------------------------- the state file


@pytest.mark.parametrize(
    ("gpu", "faults", "words"),
    [
        ("3", {"temprature_c": 99}, "no such fault"),
        ("3", {"temperature_c": "hot"}, "a number"),
        ("3", {"temperature_c": True}, "a number"),
        ("3", {"pcie_width": -1}, "a whole number"),
        ("3", {"lost": "yes"}, "true or false"),
        ("3", {"recovery_action": "reboot please"}, "one of none, gpu_reset"),
        ("3", {"clock_reasons": ["tired"]}, "a list of idle"),
        ("3", {"nvlinks_down": [1, "x"]}, "a list of whole numbers"),
        ("3", {"processes": [{"state": "D"}]}, "pid"),
        ("node", {"lost": True}, "no such fault"),
    ],
)
def test_a_wrong_fault_is_refused_with_its_place_and_changes_nothing(
    node: Node, gpu: str, faults: dict[str, object], words: str
) -> None:
    node.inject(0, temperature_c=50)
    before = Path(node.state).read_text()

    with pytest.raises(SettingError) as caught:
        inject(node.state, gpu, faults)

    assert words in str(caught.value)
    assert next(iter(faults)) in str(caught.value)
    assert Path(node.state).read_text() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"gpu": {}}', '{"gpus": []}', '{"node": 3}', "3"])
def test_a_file_that_is_no_state_is_an_error_of_checks_and_no_healthy_gpu(
    node: Node, text: str
) -> None:
    Path(node.state).write_text(text)

    with pytest.raises(SettingError, match=r"state\.json"):
        node.backend.gpus()


def test_a_file_that_is_not_there_yet_has_no_faults(tmp_path: Path) -> None:
    assert len(FakeBackend(state=FakeState(str(tmp_path / "later.json"))).gpus()) == 8


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["node", "gpus", "*", "0", "since", *FAULTS, *NODE_FAULTS]), inner,
            max_size=4,
        ),
        max_leaves=20,
    )
)  # fmt: skip
def test_any_json_is_a_state_or_a_setting_error(content: object) -> None:
    node = Node("H100", 1)
    try:
        Path(node.state).write_text(json.dumps(content))
        try:
            state = read(node.state)
        except SettingError:
            return
        assert isinstance(state, dict)
    finally:
        node.close()


def test_the_command_injects_and_clears(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    assert main([str(path), "3", "temperature_c=99", "recovery_action=gpu_reset"], 5.0) == 0
    assert main([str(path), "node", "driver_missing=true"], 5.0) == 0
    assert read(str(path)) == {
        "gpus": {"3": {"temperature_c": 99, "recovery_action": "gpu_reset"}},
        "node": {"driver_missing": True},
    }
    assert main([str(path), "3", "clear", "temperature_c"], 5.0) == 0
    assert read(str(path))["gpus"] == {"3": {"recovery_action": "gpu_reset"}}
    assert main([str(path), "clear"], 5.0) == 0
    assert read(str(path)) == {}


@pytest.mark.parametrize("words", [[], ["f"], ["f", "3"], ["f", "3", "hot"], ["f", "3", "x=1"]])
def test_the_command_says_what_is_wrong(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "f") if word == "f" else word for word in words], 0.0) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_it_is_a_program(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    done = subprocess.run(
        [sys.executable, "-m", "probes.backends.fake_state", str(path), "0", "lost=true"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert read(str(path)) == {"gpus": {"0": {"lost": True}}}


def test_clearing_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    clear(path, "7", ["lost"])
    clear(path, "node")

    assert FakeState(path).of_node() == {}


# ---------------------------------------------------------------- the choice


def test_the_fake_backend_is_chosen_by_name_only() -> None:
    backend = choose({
        "KONDUKTOR_FAKE_GPU": "true", "KONDUKTOR_GPU_COUNT": "4", "KONDUKTOR_GPU_TYPE": "NVIDIA L4",
        "KONDUKTOR_FAKE_GPU_SEED": "7",
    })  # fmt: skip

    assert (backend.name, backend.fake) == ("fake", True)
    assert [gpu.name for gpu in backend.gpus()] == ["NVIDIA L4"] * 4


def test_without_a_word_it_is_nvml_even_where_there_is_none(tmp_path: Path) -> None:
    backend = choose({"KONDUKTOR_GPU_COUNT": "4"}, str(tmp_path))

    assert isinstance(backend, Nvml)
    assert (backend.name, backend.fake) == ("nvml", False)


def test_sysfs_is_chosen_by_name(tmp_path: Path) -> None:
    assert isinstance(choose({"KONDUKTOR_GPU_BACKEND": "sysfs"}, str(tmp_path)), Sysfs)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KONDUKTOR_FAKE_GPU", "maybe"),
        ("KONDUKTOR_GPU_COUNT", "-1"),
        ("KONDUKTOR_GPU_COUNT", "33"),
        ("KONDUKTOR_GPU_COUNT", "eight"),
        ("KONDUKTOR_FAKE_GPU_SEED", "9" * 40),
        ("KONDUKTOR_GPU_BACKEND", "magic"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_value(variable: str, value: str) -> None:
    fake = {} if variable == "KONDUKTOR_GPU_BACKEND" else {"KONDUKTOR_FAKE_GPU": "true"}
    with pytest.raises(SettingError) as caught:
        choose({**fake, variable: value})

    assert variable in str(caught.value)
    assert value[:20] in str(caught.value)
