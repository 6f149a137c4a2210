from __future__ import annotations

import pytest

from probes.check import Outcome, ToolOutput
from probes.errors import CheckError, Skipped
from probes.tools.dcgm_discovery import parse_discovery
from probes.tools.dcgm_judgement import TESTS, judge
from probes.tools.dcgmi import DiagResult, DiagWarning, Status, key, parse_diag
from tests.support.tool_output import output, text


def statuses(name: str, returncode: int = 0) -> dict[tuple[str, int | None], Status]:
    found = parse_diag(output(name, returncode)).results
    return {(result.test, result.gpu): result.status for result in found}


def test_level_3_of_dcgm_3_is_read_whole() -> None:
    diag = parse_diag(output("dcgmi/v3-level3-t4.json"))
    found = {(result.test, result.gpu): result.status for result in diag.results}

    assert len(found) == 16
    assert found["memory", 0] is Status.PASS
    assert found["eud", 0] is Status.SKIP
    assert found["page_retirement_row_remap", None] is Status.PASS
    pcie = next(result for result in diag.results if result.test == "pcie")
    assert pcie.info[0] == "GPU 0 GPU 0 GPU to Host bandwidth:\t\t13.15 GB/s"


def test_nulls_between_tests_lists_of_gpus_and_capitals_are_read() -> None:
    found = statuses("dcgmi/v3-nvvs-nulls.txt")

    assert found["denylist", 7] is Status.PASS
    assert found["permissions_and_os_blocks", 0] is Status.PASS
    assert found["environment_variables", 3] is Status.PASS
    assert found["software", 5] is Status.PASS


def test_level_2_of_dcgm_4_is_read_with_the_status_that_failures_give_dcgmi() -> None:
    diag = parse_diag(output("dcgmi/v4-level2.json", 226))

    assert diag.version == "4.5.2"
    assert [(r.test, r.gpu, r.status) for r in diag.results] == [
        ("software", 0, Status.FAIL),
        ("memory", 0, Status.PASS),
        ("pcie", 0, Status.PASS),
    ]
    warning = diag.results[0].warnings[0]
    assert (warning.error_id, warning.severity) == (29, 5)


def test_gpus_without_messages_are_read_too() -> None:
    found = statuses("dcgmi/v4-diagnostic-8gpu.json")

    assert found == {("diagnostic", gpu): Status.PASS for gpu in range(8)}


def test_every_result_is_read_not_the_first_alone() -> None:
    found = statuses("dcgmi/v3-level3-pcie-fails.json", 226)

    assert found["pcie", 0] is Status.PASS
    assert found["pcie", 7] is Status.FAIL


def test_failures_by_gpu_id_are_read() -> None:
    assert statuses("dcgmi/v3-two-fail.json") == {
        ("memory", 0): Status.FAIL,
        ("pcie", 1): Status.FAIL,
    }


def test_a_summary_that_says_more_than_the_results_is_a_result_of_the_node() -> None:
    document = text("dcgmi/v4-diagnostic-8gpu.json")
    at = document.rindex('"Pass"')
    found = parse_diag(ToolOutput(226, document[:at] + '"Fail"' + document[at + 6 :], "")).results

    assert [r.status for r in found if r.gpu is None] == [Status.FAIL]


def test_a_status_that_is_not_known_is_no_pass() -> None:
    document = text("dcgmi/v4-diagnostic-8gpu.json").replace('"Pass"', '"Passed?"')

    judged = {judge(result).outcome for result in parse_diag(ToolOutput(0, document, "")).results}
    assert judged == {Outcome.ERROR}


@pytest.mark.parametrize(
    ("stdout", "code", "hint"),
    [
        (text("dcgmi/host-engine-down.txt"), 1, "start nv-hostengine"),
        (text("dcgmi/host-engine-down.txt"), 235, "start nv-hostengine"),
        ("Error: Unable to complete diagnostic for group 0. Return: (-52) : x", 204, "install"),
        ("Error: requested test was not found", 198, "none of the tests"),
        ("", 203, "killed"),
        ('{"DCGM Diagnostic": {"runtime_error": "Could not connect to hostengine"}}', 1, "start"),
    ],
)
def test_trouble_of_the_host_engine_is_an_error_with_a_hint(
    stdout: str, code: int, hint: str
) -> None:
    with pytest.raises(CheckError, match=hint):
        parse_diag(ToolOutput(code, stdout, ""))


@pytest.mark.parametrize("code", [217, 1])
def test_a_diagnostic_beside_another_one_is_skipped(code: int) -> None:
    with pytest.raises(Skipped, match="holds the GPUs"):
        parse_diag(output("dcgmi/already-running.txt", code))


def test_results_of_a_dcgmi_that_was_killed_do_not_count() -> None:
    with pytest.raises(CheckError, match="signal 9"):
        parse_diag(output("dcgmi/v3-level2-t4.json", -9))


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "Successfully ran diagnostic for group.",
        "{}",
        '{"DCGM Diagnostic": {}}',
        '{"DCGM Diagnostic": {"test_categories": []}}',
        '{"DCGM Diagnostic": {"test_categories": [{"tests": []}]}}',
        '{"DCGM Diagnostic": {"test_categories": [{"tests": [{"name": "memory"}]}]}}',
        '{"DCGM Diagnostic": {"test_categories": [{"tests": [{"name": 1, "results": []}]}]}}',
        text("dcgmi/v3-level2-t4.json") * 2,
        text("dcgmi/v3-level2-t4.json").replace('"Pass"', "NaN", 1),
        text("dcgmi/v4-level2.json").replace('"entity_id": 0', '"entity_id": 4000'),
        text("dcgmi/v4-level2.json").replace('"entity_id": 0', '"entity_id": true'),
    ],
)
def test_what_is_not_understood_is_an_error(stdout: str) -> None:
    with pytest.raises(CheckError):
        parse_diag(ToolOutput(0, stdout, ""))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("GPU Memory", "memory"),
        ("memory", "memory"),
        ("PCIe", "pcie"),
        ("Page Retirement/Row Remap", "page_retirement_row_remap"),
        ("Blacklist", "denylist"),
        ("Pulse Test", "pulse"),
        ("Permissions and OS-related Blocks", "permissions_and_os_blocks"),
    ],
)
def test_names_of_both_versions_are_one(theirs: str, ours: str) -> None:
    assert key(theirs) == ours
    assert ours in TESTS


def result(test: str, status: Status, *warnings: DiagWarning) -> DiagResult:
    return DiagResult(test, 0, status, warnings)


@pytest.mark.parametrize(
    ("given", "outcome", "severity", "remedy"),
    [
        # the test decides where DCGM says no more
        (result("pcie", Status.FAIL), Outcome.FAIL, "fatal", "inspect"),
        (result("memory", Status.FAIL), Outcome.FAIL, "fatal", "inspect"),
        (result("nvlink", Status.FAIL), Outcome.FAIL, "fatal", "inspect"),
        (result("targeted_power", Status.FAIL), Outcome.FAIL, "degraded", "inspect"),
        (result("page_retirement_row_remap", Status.FAIL), Outcome.FAIL, "degraded", "reset_gpu"),
        (result("a test of tomorrow", Status.FAIL), Outcome.FAIL, "degraded", "inspect"),
        # its own word counts more
        (
            result("pcie", Status.FAIL, DiagWarning("x", 30, 1)),
            Outcome.FAIL,
            "degraded",
            "inspect",
        ),
        (
            result("software", Status.FAIL, DiagWarning("x", 85, 6)),
            Outcome.FAIL,
            "fatal",
            "reset_gpu",
        ),
        (
            result("targeted_stress", Status.FAIL, DiagWarning("x", 42, 2)),
            Outcome.FAIL,
            "fatal",
            "inspect",
        ),
        # settings and failures of the measuring do not accuse
        (
            result("software", Status.FAIL, DiagWarning("x", 29, 5)),
            Outcome.WARN,
            "degraded",
            "inspect",
        ),
        (result("persistence_mode", Status.FAIL), Outcome.WARN, "degraded", "inspect"),
        (result("permissions_and_os_blocks", Status.FAIL), Outcome.ERROR, "degraded", "inspect"),
        (
            result("memory", Status.FAIL, DiagWarning("x", 56, 1)),
            Outcome.ERROR,
            "degraded",
            "inspect",
        ),
        (
            result(
                "memory", Status.FAIL, DiagWarning("device(s) is/are busy or unavailable", 66, 2)
            ),
            Outcome.ERROR,
            "degraded",
            "inspect",
        ),
        # the worst of several
        (
            result("memory", Status.FAIL, DiagWarning("x", 56, 1), DiagWarning("y", 58, 2)),
            Outcome.FAIL,
            "fatal",
            "inspect",
        ),
        (result("memory", Status.WARN), Outcome.WARN, "fatal", "inspect"),
        (result("memory", Status.SKIP), Outcome.SKIP, "degraded", "inspect"),
        (result("memory", Status.NOT_RUN), Outcome.SKIP, "degraded", "inspect"),
        # a pass in which nothing was tested
        (
            result("memory", Status.PASS, DiagWarning("x", 56, 1)),
            Outcome.ERROR,
            "degraded",
            "inspect",
        ),
        (
            result("memory", Status.PASS, DiagWarning("x", 5, 1)),
            Outcome.WARN,
            "degraded",
            "inspect",
        ),
        (result("memory", Status.PASS), Outcome.PASS, "degraded", "inspect"),
    ],
)
def test_each_result_has_its_weight(
    given: DiagResult, outcome: Outcome, severity: str, remedy: str
) -> None:
    judged = judge(given)

    assert (judged.outcome, judged.severity, judged.remedy) == (outcome, severity, remedy)


def test_the_table_of_gpus_is_read() -> None:
    assert parse_discovery(output("dcgmi/discovery-t4.txt")) == {0: "0001:00:00"}
    assert parse_discovery(output("dcgmi/discovery-h800.txt")) == {
        0: "0000:18:00",
        1: "0000:3e:00",
        2: "0000:51:00",
        3: "0000:65:00",
        4: "0000:98:00",
        5: "0000:bd:00",
        6: "0000:cf:00",
        7: "0000:e2:00",
    }


@pytest.mark.parametrize(
    "stdout",
    ["", "0 GPUs", text("dcgmi/discovery-h800.txt")[:900], text("dcgmi/host-engine-down.txt")],
)
def test_a_table_that_is_not_whole_is_an_error(stdout: str) -> None:
    with pytest.raises(CheckError):
        parse_discovery(ToolOutput(0, stdout, ""))
