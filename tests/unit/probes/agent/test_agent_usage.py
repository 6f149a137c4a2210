"""What ``konduktor-probe agent`` makes of its options."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from probes.agent.options import Options
from probes.check import CheckSpec
from probes.cli import main
from probes.commands import agent as command


class Built:
    """Instead of an agent: remembers what it was built of, and ends at once."""

    options: Options | None = None

    def __init__(self, options: Options, specs: tuple[CheckSpec, ...], around: object) -> None:
        Built.options = options

    def run(self) -> bool:
        return True


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run the command and return its options."""
    for name in list(os.environ):
        if name.startswith(("KONDUKTOR_", "NODE_NAME")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(command, "build", Built)
    monkeypatch.setattr(command, "_end_on_signals", lambda _: None)
    umask = os.umask(0o022)

    def call(*words: str) -> Options:
        assert main(["agent", "--node", "node-a", "--state", str(tmp_path), *words]) == 0
        assert Built.options is not None
        return Built.options

    yield call
    os.umask(umask)


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["agent", "--node", "node-a", *words])
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_defaults_are_those_of_a_pod(given: Any, tmp_path: Path) -> None:
    options = given()
    assert (options.host, options.port) == ("", 9410)
    assert options.intervals == {"light": 60.0, "hourly": 3600.0, "invasive": 14400.0}
    assert options.delivered == str(tmp_path / "delivered")
    assert options.keys == "/etc/konduktor-probe/keys"
    assert (options.kmsg, options.boot_checks, options.compat_autopilot) == (
        "/dev/kmsg",
        True,
        False,
    )
    assert (options.history_bytes, options.history_age_s) == (32 * 2**20, 7 * 86400)


def test_autopilots_port_is_off_and_is_chosen(
    given: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (given().autopilot_port, given().autopilot_starts) == (None, False)
    options = given("--compat-autopilot-listen=127.0.0.1:3333", "--compat-autopilot-start")
    assert (options.autopilot_host, options.autopilot_port) == ("127.0.0.1", 3333)
    assert options.autopilot_starts
    said = refusal(capsys, "--compat-autopilot-listen=here")
    assert "--compat-autopilot-listen 'here': HOST:PORT is expected, e.g. :3333" in said
    assert "asks for --compat-autopilot-listen" in refusal(capsys, "--compat-autopilot-start")
    monkeypatch.setenv("KONDUKTOR_PROBE_COMPAT_AUTOPILOT_LISTEN", ":3334")
    assert given().autopilot_port == 3334


def test_options_come_from_the_command_line_then_from_the_environment(
    given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONDUKTOR_PROBE_LIGHT_INTERVAL", "120")
    monkeypatch.setenv("KONDUKTOR_PROBE_LISTEN", "[::1]:8000")
    monkeypatch.setenv("KONDUKTOR_PROBE_HISTORY_MIB", "")
    options = given("--hourly-interval", "0", "--compat-autopilot", "--no-kmsg", "--no-boot-checks")
    assert options.intervals == {"light": 120.0, "hourly": 0.0, "invasive": 14400.0}
    assert (options.host, options.port) == ("::1", 8000)
    assert (options.kmsg, options.boot_checks, options.compat_autopilot) == ("", False, True)
    assert given("--light-interval", "30").intervals["light"] == 30.0


def test_options_of_checks_are_passed_on(given: Any) -> None:
    options = given("--option", "driver.a=1", "--option", "driver.b=x=y")
    assert options.check_options == {"driver.a": "1", "driver.b": "x=y"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--light-interval", "abc"], "--light-interval 'abc': a number from 5 to"),
        (["--light-interval", "1"], "a number from 5 to"),
        (["--hourly-interval", "nan"], "a number from 5 to"),
        (["--invasive-interval", "-1"], "a number from 5 to"),
        (["--history-mib", "0"], "--history-mib '0': a number from 1 to 4096"),
        (["--history-days", "1e9"], "--history-days '1e9'"),
        (["--listen", "here"], "--listen 'here': HOST:PORT is expected, e.g. :9410"),
        (["--listen", ":99999"], "HOST:PORT is expected"),
        (["--option", "x"], "--option 'x': CHECK.NAME=VALUE is expected"),
        (["--option", "unheard-of.a=1"], "no check 'unheard-of'; konduktor-probe list"),
        (["--log-level", "loud"], "--log-level 'loud': debug, info, warning or error"),
        (["--root", "/nowhere"], "--root '/nowhere': no such directory"),
        (["--node", "a b"], "the node name may hold"),
        (["--user-checks", "/nowhere.json"], "--user-checks: "),
        (["--backend", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_a_wrong_option_says_what_is_expected(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refusal(capsys, *words)


def test_what_cannot_work_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    state = str(tmp_path / "file" / "state")
    umask = os.umask(0o022)
    try:
        words = ["agent", "--node", "a", "--listen", "127.0.0.1:0", "--state", state]
        assert main(words) == 1
    finally:
        os.umask(umask)
    out, err = capsys.readouterr()
    told = json.loads(out.splitlines()[-1])
    assert (told["level"], told["message"], err) == ("error", "the agent cannot work", "")
    assert "--state" in told["why"]
