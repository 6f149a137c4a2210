"""``replay`` as a command: input forms, output forms, two policies, and a user's mistakes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from konduktor_health.cli.app import app
from konduktor_health.cli.replay_export import AsCsv
from konduktor_health.errors import ConfigError
from konduktor_health.policy.document import PresetName
from konduktor_health.runtime.replay.timeline import Moment
from konduktor_health.sandbox.nodes import cpu_node, gpu_node

XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off."


def line(node: str, second: int, text: str = XID_79) -> str:
    """As the forwarder writes it."""
    return json.dumps(
        {
            "konduktor": "kmsg",
            "v": 1,
            "kind": "record",
            "boot_id": "ab" * 16,
            "uptime_us": (1000 + second) * 10**6,
            "facility": 0,
            "time": f"2026-03-01T10:{second // 60:02d}:{second % 60:02d}.000000Z",
            "node": node,
            "text": text,
        },
        separators=(",", ":"),
    )


def replay(*args: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["replay", *args], input=stdin)


def as_json(*args: str, stdin: str = "") -> Any:
    done = replay(*args, "-o", "json", stdin=stdin)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


PAST = "\n".join([line("a", 1), line("b", 11), line("c", 21)]) + "\n"


def test_the_timeline_tells_taints_and_holds_and_what_was_not_known() -> None:
    told = as_json("--fleet-size", "20", stdin=PAST)

    assert [(each["kind"], each["node"], each["time"][11:19]) for each in told["moments"]] == [
        ("taint", "a", "10:00:02"),
        ("taint", "b", "10:00:12"),
        ("hold", "c", "10:00:22"),
    ]
    (sums,) = told["policies"]
    assert (sums["managed_nodes"], sums["tainted_nodes"]) == (20, 2)
    assert sums["holds"] == {"BudgetExhausted": 1}
    assert sums["rules"]["fatal"] == {"taints": 2, "nodes": 2, "faults": {"xid/79": 2}}
    assert told["lines"]["heard"] == 3
    assert any(each.startswith("probes:") for each in told["not_known"])


def test_the_table_shows_the_same() -> None:
    shown = replay("--fleet-size", "20", stdin=PAST).stdout

    assert "taint       a" in shown
    assert "BudgetExhausted" in shown
    assert "not known:" in shown


def test_the_same_past_gives_the_same_text() -> None:
    assert replay("-o", "json", stdin=PAST).stdout == replay("-o", "json", stdin=PAST).stdout


def test_two_policies_are_told_side_by_side_with_their_difference(tmp_path: Path) -> None:
    strict = tmp_path / "tight.yaml"
    strict.write_text("version: 1\nbudget: {percent: 5}\n")

    told = as_json("--fleet-size", "20", "--compare", str(strict), stdin=PAST)

    assert [each["policy"] for each in told["policies"]] == ["settings", "tight.yaml"]
    assert told["difference"]["tainted_only_by"] == {"settings": ["b"], "tight.yaml": []}
    assert told["difference"]["tainted_by_both"] == 1


def test_files_of_several_nodes_are_merged_by_time_and_name_their_nodes(tmp_path: Path) -> None:
    bare = "2026-03-01T10:00:05.000000Z stdout F [ 1005.000000] " + XID_79
    (tmp_path / "gpu-7.log").write_text(bare + "\n")
    with gzip.open(tmp_path / "others.log.gz", "wt") as file:
        file.write(line("a", 1) + "\n" + line("b", 11) + "\n")

    told = as_json(
        str(tmp_path / "gpu-7.log"), str(tmp_path / "others.log.gz"), "--fleet-size", "100"
    )

    assert [each["node"] for each in told["moments"]] == ["a", "gpu-7", "b"]


def test_the_range_is_cut_and_played_to_its_end() -> None:
    told = as_json("--from", "2026-03-01T10:00:05Z", "--to", "2026-03-01T12:00:12Z", stdin=PAST)

    assert [each["node"] for each in told["moments"]] == ["b", "c"]
    assert told["policies"][0]["hours_out_of_scheduling"] == 2.0
    assert told["lines"]["outside_range"] == 1


def test_a_list_of_nodes_says_which_there_are(tmp_path: Path) -> None:
    nodes = [gpu_node("a"), gpu_node("b"), cpu_node("c")]
    listed = tmp_path / "nodes.json"
    listed.write_text(json.dumps({"kind": "List", "items": nodes}))

    told = as_json("--nodes", str(listed), stdin=PAST)

    assert [(each["kind"], each["node"]) for each in told["moments"]] == [
        ("taint", "a"),
        ("hold", "b"),
    ]
    assert told["policies"][0]["managed_nodes"] == 2


def test_csv_is_written_to_a_file_and_the_sums_to_stdout(tmp_path: Path) -> None:
    out = tmp_path / "past.csv"

    done = replay("-o", "csv", "--output-file", str(out), "--fleet-size", "20", stdin=PAST)

    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["kind"], row["node"], row["limit"]) for row in rows] == [
        ("taint", "a", "2"),
        ("taint", "b", "2"),
        ("hold", "c", ""),
    ]
    assert "nodes tainted" in done.stdout


def test_no_cell_is_a_formula() -> None:
    file = io.StringIO()

    AsCsv(file).moment("=p", Moment(1, "taint", "=cmd()"))

    assert "'=cmd()" in file.getvalue()
    assert "'=p" in file.getvalue()


def test_lines_without_a_time_are_told_not_guessed() -> None:
    told = as_json(stdin=f"[ 5.000000] {XID_79}\n")

    assert told["moments"] == []
    assert told["lines"]["without_time"] == 1
    assert any("tell no time" in each for each in told["not_known"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--loki", "x.log"), "--loki and log files"),
        (("--since", "1h", "--from", "2026-01-01T00:00:00Z"), "--since and --from"),
        (("--since", "soon"), "--since: not a duration: 'soon'"),
        (("--from", "yesterday"), "--from: not a time: 'yesterday'"),
        (("--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"), "not before --to"),
        (("--reset-after", "x"), "--reset-after: not a duration"),
        (("--preset", "lenient"), "no such preset: 'lenient'"),
        (("--preset", "default", "--policy", "x"), "--policy and --preset"),
        (("--compare", "/nowhere"), "policy file /nowhere: No such file"),
        (("--nodes", "/nowhere"), "node list /nowhere: No such file"),
        (("/nowhere.log",), "cannot read /nowhere.log"),
        (("--output-file", "/nowhere/x"), "cannot write /nowhere/x"),
    ],
)
def test_a_mistake_is_one_clear_error(args: tuple[str, ...], said: str) -> None:
    done = replay(*args)

    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


@pytest.mark.parametrize(
    "content", ["version: 1\nbudget: {percent: 0}", "version: 1\nbudget: 5", "- 1", "{", "\x00"]
)
def test_a_wrong_policy_file_is_one_clear_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(content)

    done = replay("--policy", str(path), stdin=PAST)

    assert isinstance(done.exception, ConfigError)
    assert "p.yaml" in str(done.exception)


def test_a_policy_file_is_that_of_the_controller_rules_and_pools_too(tmp_path: Path) -> None:
    nodes = [gpu_node("a"), gpu_node("b"), gpu_node("c")]
    for each, pool in zip(nodes, ("train", "train", "serve"), strict=True):
        each["metadata"]["labels"]["pool"] = pool
    listed = tmp_path / "nodes.json"
    listed.write_text(json.dumps({"kind": "List", "items": nodes}))
    pools = tmp_path / "pools.yaml"
    pools.write_text(
        "version: 1\npools: [{name: train, nodes: pool=train}, {name: serve, nodes: pool=serve}]\n"
    )
    gentle = tmp_path / "gentle.yaml"
    gentle.write_text(
        "version: 1\nrules: [{name: lost, match: {faults: [xid/79]}, mode: observe}]\n"
    )

    def moments(*args: str) -> list[tuple[str, str]]:
        told = as_json("--nodes", str(listed), *args, stdin=PAST)
        return [(each["kind"], each["node"]) for each in told["moments"]]

    by_pool = [("taint", "a"), ("hold", "b"), ("taint", "c")]  # one of each pool at a time
    assert moments("--policy", str(pools)) == by_pool
    observed = [("hold", name) for name in "abc"]  # told, and nothing is done
    assert moments("--policy", str(gentle)) == observed
    config = tmp_path / "settings.yaml"
    config.write_text(f"policy_file: {pools}\n")
    assert moments("--config", str(config)) == by_pool  # as the controller with these settings


def test_every_preset_can_be_replayed() -> None:
    for preset in PresetName:
        told = as_json("--preset", preset.value, stdin=PAST)
        assert [each["policy"] for each in told["policies"]] == [preset.value]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"items": []}', '{"items": [5]}', "{"])
def test_a_wrong_list_of_nodes_is_one_clear_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(content)

    done = replay("--nodes", str(path), stdin=PAST)

    assert isinstance(done.exception, ConfigError)
    assert "nodes.json" in str(done.exception)


def test_a_file_with_the_newest_line_first_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "turned.log"
    path.write_text("\n".join(line("a", second) for second in range(300, 0, -1)))

    done = replay(str(path))

    assert isinstance(done.exception, ConfigError)
    assert "newest lines come first" in str(done.exception)


def test_the_other_commands_do_not_load_what_a_replay_needs() -> None:
    loaded = "import sys, konduktor_health.cli.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )

    modules = done.stdout.split()
    assert "konduktor_health.cli.replay" in modules
    assert not [name for name in modules if ".runtime.replay" in name or ".replay_" in name]
