"""``konduktor-probe run`` and ``list`` with checks of a site, which are programs of the test."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.cli import main
from probes.kmsg.command import read_boot_id
from probes.processes.seen import Processes
from probes.report import NodeSettings, Run

ROOT = Path(__file__).parents[3]


class Site:
    """A folder with checks of a site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def put(self, name: str, script: str, **members: object) -> None:
        program = self.folder / f"{name}.sh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        entry = {"name": name, "program": program.name, **members}
        (self.folder / f"{name}.json").write_text(json.dumps({"checks": [entry]}))

    def says(self, name: str, outcome: str, **members: object) -> None:
        answer = json.dumps({"outcome": outcome, "message": f"it is {outcome}"})
        self.put(name, f"echo '{answer}'", **members)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path / "site")
    monkeypatch.setenv("KONDUKTOR_USER_CHECKS", str(made.folder))
    monkeypatch.setenv("NODE_NAME", "gpu-node-3")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("probes.places.PLACES", {})  # a tier is that of the site alone
    return made


@pytest.fixture
def checks(site: Site) -> Site:
    """One of each outcome."""
    for outcome in ("pass", "fail", "warn", "skip", "error"):
        site.says(f"site-{outcome}", outcome)
    site.put("site-timeout", "sleep 60", deadline_s=0.5)
    return site


def usage(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["pass"], 0),
        (["pass", "warn"], 0),
        (["skip"], 4),
        (["pass", "skip"], 4),
        (["pass", "error"], 4),
        (["warn", "timeout"], 4),
        (["pass", "fail"], 3),
        (["error", "skip", "timeout", "fail"], 3),
    ],
)
def test_the_exit_code_says_whether_all_was_measured_and_good(
    checks: Site, names: list[str], code: int
) -> None:
    assert main(["run", *(f"site-{name}" for name in names)]) == code


def test_the_table_has_a_line_for_each_result_and_a_sum(
    checks: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "site-fail", "site-skip", "site-pass", "--run-id", "r-1"])

    said = capsys.readouterr()
    head, *rows, total = said.out.splitlines()
    assert head.split() == ["check", "device", "outcome", "seconds", "message"]
    words = [row.split() for row in rows]
    assert [(row[0], row[1], row[3:]) for row in words] == [
        ("site-fail", "fail", ["it", "is", "fail"]),
        ("site-pass", "pass", ["it", "is", "pass"]),
        ("site-skip", "skip", ["it", "is", "skip"]),
    ]
    assert total.startswith("run r-1: 1 fail, 1 skip, 1 pass in ")
    assert said.err == ""  # no bar where nobody looks


def test_json_is_the_run_as_it_goes_over_the_wire(
    checks: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--tier", "light", "--json", "--reason", "just so"]) == 3

    run = Run.model_validate_json(capsys.readouterr().out)
    of_the_site = [result for result in run.results if result.check.startswith("site-")]
    assert [(result.check, result.outcome) for result in of_the_site] == [
        (f"site-{outcome}", outcome)
        for outcome in ("error", "fail", "pass", "skip", "timeout", "warn")
    ]
    assert (run.reason, run.cadence, run.boot_id) == ("just so", "requested", read_boot_id())


def test_a_delivered_run_is_whole_and_nobody_elses(
    checks: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "delivered"
    folder.mkdir()
    words = ["run", "site-pass", "--deliver", str(folder), "--run-id", "job-7", "--json"]
    assert main(words) == 0

    [file] = folder.iterdir()
    assert file.name == "job-7.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = Run.model_validate_json(capsys.readouterr().out)
    assert Run.model_validate_json(file.read_text()) == shown


def test_an_invasive_run_says_so(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.says("site-stress", "pass", tier="invasive", needs_idle_gpus=False)
    main(["run", "--tier", "invasive", "--json"])

    run = Run.model_validate_json(capsys.readouterr().out)
    assert (run.cadence, {result.tier for result in run.results}) == ("invasive", {"invasive"})
    assert "site-stress" in {result.check for result in run.results}


def test_a_directory_that_cannot_take_the_run_is_told_before_it_begins(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.put("site-a", f"touch {tmp_path}/began")

    assert main(["run", "site-a", "--deliver", str(tmp_path / "none")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize("name", ["fail", "skip", "error"])
def test_a_job_has_done_its_work_once_the_run_is_delivered(
    checks: Site, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "delivered"
    folder.mkdir()
    words = ["run", f"site-{name}", "--deliver", str(folder), "--run-id", "job-7"]
    assert main(words) != 0
    assert main([*words, "--ok-when-delivered"]) == 0
    run = Run.model_validate_json((folder / "job-7.json").read_bytes())
    assert [result.outcome for result in run.results] == [name]
    assert main([*words[:3], str(tmp_path / "none"), "--ok-when-delivered"]) == 1


def test_what_is_not_delivered_cannot_be_well_when_delivered(
    checks: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    told = usage(capsys, "run", "site-pass", "--ok-when-delivered")
    assert "--ok-when-delivered needs --deliver DIR" in told


def test_options_and_settings_reach_the_check(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    got = tmp_path / "got.json"
    site.put("site-a", f"""cat >{got}; echo '{{"outcome": "pass", "message": "x"}}'""")
    settings = NodeSettings(
        node="gpu-node-3",
        labels={"zone": "b"},
        expected_gpus=8,
        issued_ns=1,
        expires_ns=2,
        nonce="n" * 16,
    )
    file = tmp_path / "settings.json"
    file.write_text(settings.model_dump_json())
    words = ["run", "site-a", "--option", "site-a.speed=a=b", "--settings", str(file)]
    assert main(words) == 0

    told = json.loads(got.read_text())
    assert told["options"] == {"speed": "a=b"}
    assert (told["node"], told["labels"], told["expected_gpus"]) == ("gpu-node-3", {"zone": "b"}, 8)
    assert main([*words, "--node", "another"]) == 1
    assert "of node gpu-node-3, and this is another" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"node": "a b"}'])
def test_settings_that_cannot_be_read_are_told(
    checks: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)

    assert main(["run", "site-pass", "--settings", str(file)]) == 1
    assert main(["run", "site-pass", "--settings", str(tmp_path / "none")]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert f"--settings {file}: " in first
    assert "No such file" in second


def test_wrong_usage_says_what_and_what_to_do(
    checks: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "name checks, or --tier" in usage(capsys, "run")
    assert "is site-pass meant?" in usage(capsys, "run", "site-pas")
    assert "CHECK.NAME=VALUE" in usage(capsys, "run", "site-pass", "--option", "x")
    foreign = usage(capsys, "run", "site-pass", "--option", "site-fail.x=1")
    assert "site-fail is not among the checks of this run" in foreign
    assert "--run-id" in usage(capsys, "run", "site-pass", "--run-id", "a/b")
    assert "no such directory" in usage(capsys, "run", "site-pass", "--root", "/none")
    (checks.folder / "bad.json").write_text("{")
    assert "bad.json: no JSON" in usage(capsys, "run", "site-pass")


def test_list_says_what_can_be_run(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.says("site-a", "pass", title="Is it fine?", cadence="hourly", deadline_s=90)
    site.says("site-b", "pass", tier="invasive")
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "site-a light hourly 90 s Is it fine?" in lines
    assert "site-b invasive invasive 30 s site-b (needs idle GPUs)" in lines

    assert main(["list", "--json", "--tier", "invasive"]) == 0
    [entry] = [e for e in json.loads(capsys.readouterr().out) if e["name"] == "site-b"]
    assert entry == {
        "name": "site-b",
        "title": "site-b",
        "tier": "invasive",
        "cadence": "invasive",
        "deadline_s": 30.0,
        "needs_idle_gpus": True,
    }


class Running:
    """A ``konduktor-probe run`` of its own, which hangs in a check until it is ended."""

    def __init__(self, site: Site, pids: Path) -> None:
        site.put("site-hang", f"echo $$ >{pids}; exec sleep 600", deadline_s=600)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "probes.cli", "run", "site-hang"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 20
        while not (pids.exists() and pids.read_text()) and time.monotonic() < end:
            threading.Event().wait(0.05)
        self.check = int(pids.read_text())


@pytest.fixture
def running(site: Site, tmp_path: Path) -> Iterator[Running]:
    made = Running(site, tmp_path / "pids")
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait(10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_all_that_it_started(
    running: Running, number: int, code: int
) -> None:
    running.process.send_signal(number)
    out, err = running.process.communicate(timeout=10)

    assert running.process.returncode == code
    assert (out, err) == ("", "konduktor-probe run: stopped; nothing of this run counts\n")
    table = Processes()
    check = table.identify(running.check)
    assert check is None or not table.alive(check)


def test_output_that_cannot_be_written_is_a_failure(checks: Site) -> None:
    command = f"{sys.executable} -m probes.cli run site-pass >/dev/full"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
