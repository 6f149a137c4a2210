"""Does only the kernel's own word prove a repair?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parsers import catalog, tables
from parsers.decode import Decoder
from parsers.fault import Fault, Severity, Trust
from parsers.proofs import Proof, ProofKind, ends, proof_of
from parsers.record import unwrap
from tests.support.wrapped_lines import journald, kmsg_json

LOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"
PROBED = "nvidia-nvswitch0: Probing device 0000:c3:00.0, Vendor Id = 0x10de"
NONE = (
    "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required)"
    " to 0x0 (None)"
)
RESET = NONE.replace("0x0 (None)", "0x2 (Node Reboot Required)")
COOLED = "mce: CPU3: Core temperature/speed normal"
HOT = "mce: CPU3: Core temperature above threshold, cpu clock throttled (total events = 1)"
MARKERS = [LOADED, PROBED, NONE, COOLED, "NVRM: Xid (PCI:0000:3b:00): 162, PowerSmoothing HW"]
PROGRAM = "GPU reset executed: GPU-22222222-2222-2222-2222-222222222222, success: true"


def told(line: str) -> Fault:
    (fault,) = Decoder().feed(unwrap(line), "n", 7)
    return fault


@pytest.mark.parametrize(
    ("line", "proof"),
    [
        (LOADED, Proof(ProofKind.DRIVER_LOADED, "n", "", 7)),
        (PROBED, Proof(ProofKind.DRIVER_LOADED, "n", "0000:c3:00", 7)),
        (NONE, Proof(ProofKind.RECOVERY_NONE, "n", "0000:3b:00", 7)),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 10005, Host_unhandled_interrupt cleared",
            Proof(ProofKind.ENDED, "n", "0000:c3:00", 7, ("sxid/10004",)),
        ),
        (
            COOLED,
            Proof(
                ProofKind.ENDED, "n", "", 7, ("kernel/cpu-hot",), (("cpu", "3"), ("part", "Core"))
            ),
        ),
    ],
)
def test_a_marker_of_the_kernel_proves(line: str, proof: Proof) -> None:
    assert proof_of(told(line)) == proof


@pytest.mark.parametrize(
    "line",
    [
        RESET,
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (GPU Re",
        "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
        "Xid (b:0): 162",  # fits into a process name
        "NVRM: Xid (PCI:nonsense): 162, x",
        HOT,
        PROGRAM,
        "XFS (sda1): Corruption of in-memory data detected.  Shutting down filesystem",
    ],
)
def test_other_lines_prove_nothing(line: str) -> None:
    assert proof_of(told(line)) is None


@pytest.mark.parametrize("line", MARKERS)
def test_a_marker_that_a_program_wrote_into_the_kernels_log_proves_nothing(line: str) -> None:
    for written in (
        kmsg_json(line, facility=1),
        journald(line, SYSLOG_FACILITY="3"),
        journald(line, SYSLOG_FACILITY=["0", "0"]),
        f"12,1,2,-;{line}",
        f"user  :warn  : [1.5] {line}",
    ):
        assert proof_of(told(written)) is None


@pytest.mark.parametrize("line", MARKERS)
def test_a_marker_from_elsewhere_is_not_even_a_fault(line: str) -> None:
    decoder = Decoder()

    assert decoder.feed(unwrap(journald(line, _TRANSPORT="stdout"))) == []
    assert decoder.feed_pod(unwrap(line)) == []


@pytest.mark.parametrize("trust", [Trust.POD, Trust.PROBE])
def test_what_comes_from_no_kernel_log_proves_nothing(trust: Trust) -> None:
    for line in MARKERS:
        assert proof_of(told(line))
        assert proof_of(replace(told(line), trust=trust)) is None


def test_no_line_of_a_pod_or_of_a_program_is_a_marker() -> None:
    read = tables.shipped()

    assert not [rule.fault_id for rule in read.pod.rules if rule.proves]
    for rule in (*read.pod.rules, *read.kernel.rules):
        if rule in read.pod.rules or rule.printed_by == "program":
            kinds = [each.kind for each in catalog.relations(rule.fault_id)]
            assert "clears" not in kinds, rule.fault_id


def test_an_end_ends_the_state_of_the_same_place() -> None:
    proof = proof_of(told(COOLED))
    assert proof is not None

    assert ends(proof, told(HOT))
    assert not ends(proof, told(HOT.replace("CPU3", "CPU4")))
    assert not ends(proof, replace(told(HOT), node="other"))
    assert not ends(proof, told(LOADED))


def test_an_unknown_severity_proves_nothing() -> None:
    assert proof_of(replace(told(LOADED), severity=Severity.UNKNOWN)) is None
