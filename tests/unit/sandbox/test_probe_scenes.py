"""Does the story of the probes show every kind of fault that the fake backend has?"""

from __future__ import annotations

from konduktor_health.sandbox.agents import NODE
from konduktor_health.sandbox.probe_scenes import GPUS, PARTS
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FAULTS, NODE_FAULTS

SCENES = [scene for part in PARTS for act in part.acts for scene in act.scenes]

#: What accuses nobody: it cannot be measured, is no fault, or is told beside what is one.
NOBODY_IS_ACCUSED = {
    "hang": "a time-out: shown on a node of its own",
    "error": "not measured",
    "unsupported": "not supported",
    "mig": "a partitioned GPU",
    "power_limit_w": "a warning: somebody's setting",
    "ecc_disabled": "a warning: a setting",
    "persistence_off": "a warning: a setting",
    "aer_correctable_per_s": "corrected",
    "aer_nonfatal": "a warning",
    "nvlink_recoveries_per_s": "a warning until 15 of 30 runs",
    "remapped_corrected": "told",
    "remapped_uncorrected": "told up to 512 rows",
}
#: Counts whose siblings are shown: errors that ECC corrects by the million, and those of a life.
COUNTED_ALIKE = {
    "ecc_volatile_dram_corrected",
    "ecc_volatile_sram_corrected",
    *(f"ecc_aggregate_{place}_{kind}" for place in ("dram", "sram")
      for kind in ("corrected", "uncorrected")),
}  # fmt: skip
NOBODY_OF_THE_NODE = {"no_permission", "backend_error", "driver_version"}


def test_every_kind_of_fault_of_a_gpu_that_accuses_is_shown() -> None:
    shown = {name for scene in SCENES if scene.gpu != NODE for name in scene.faults}
    assert shown | NOBODY_IS_ACCUSED.keys() | COUNTED_ALIKE == set(FAULTS)
    assert not shown & NOBODY_IS_ACCUSED.keys()


def test_every_kind_of_fault_of_a_node_that_accuses_is_shown() -> None:
    shown = {name for scene in SCENES if scene.gpu == NODE for name in scene.faults}
    assert shown | NOBODY_OF_THE_NODE == set(NODE_FAULTS)
    assert not shown & NOBODY_OF_THE_NODE


def test_faults_are_put_on_gpus_that_there_are() -> None:
    assert [gpu.device for gpu in FakeBackend().gpus()] == list(GPUS)
    assert {scene.gpu for scene in SCENES} <= {*GPUS, NODE}


def test_within_an_act_no_two_faults_become_one_record() -> None:
    for part in PARTS:
        for act in part.acts:
            keys = [scene.key for scene in act.scenes]
            assert len(set(keys)) == len(keys), act.title
