"""Documentation that cannot rot: what the code has is in the reference, and the other way round."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from docs.pages.commands import commands
from konduktor_health import errors, settings
from konduktor_health.adapters.kube.cluster import EVENT_NAMESPACE, STATE_NAME
from konduktor_health.adapters.loki import build_specs
from konduktor_health.adapters.policy_file import Reader
from konduktor_health.adapters.rules_file import judge
from konduktor_health.cli.app import app
from konduktor_health.core.operator import OperatorEvent
from konduktor_health.core.operators_record import OPERATOR_TAINT
from konduktor_health.model import HoldReason, Keys, Verdict
from konduktor_health.runtime.metrics import NAMESPACE, Metrics
from konduktor_health.runtime.shutdown import HUNG_EXIT_CODE
from konduktor_health.treatment import Effect
from parsers.fault import Remedy, Severity, Trust
from parsers.record import unwrap
from probes.cli import COMMANDS as PROBE_COMMANDS
from probes.cli import main as probe
from tests.support.probe_on_servers import RULES

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    [
        *DOCS.rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    ]
)
COMMANDS = [name for name, _ in commands()]


def reference(name: str) -> str:
    return (REFERENCE / name).read_text()


def each_page(*, beside: str = "") -> list[Path]:
    return [page for page in PAGES if page.name != beside]


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """The fenced blocks of a page that say one of these languages."""
    for language, content in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.S | re.M):
        if language in languages:
            yield content


def options_of(program: str, command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """What --help says."""
    if program == "konduktor-probe":
        with pytest.raises(SystemExit):
            probe([command, "--help"])
        text = capsys.readouterr().out
    else:
        text = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command.split(), "--help"]).output
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)) - {"-h"}


def setting_keys() -> Iterator[str]:
    for name, info in settings.Settings.model_fields.items():
        kinds = [info.annotation, *get_args(info.annotation)]
        models = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if not models or info.annotation is not models[0]:
            yield name
        for model in models:
            separator = "." if info.annotation is model else "[]."
            yield from keys_of(name + separator, model)


def keys_of(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """The keys of a group, and of the groups in it."""
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys_of(f"{prefix}{name}.", inner)
        else:
            yield prefix + name


def string_constants(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# ---------------------------------------------------------------- the reference is complete


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"run python docs/generate.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_documented(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    section = reference("cli.md").split(f"## `konduktor-health {command}`")[1].split("\n## ")[0]
    for option in options_of("konduktor-health", command, capsys) - {"--help"}:
        assert re.search(rf"[` ]{option}[`,]", section), f"{command} {option}"


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("agent", ("NODE_NAME", "KONDUKTOR_USER_CHECKS", "KONDUKTOR_PROBE_<OPTION>")),
        ("kmsg", ("NODE_NAME", "LOKI_PUSH_URL", "LOG_ENDPOINT")),
        ("run", ("NODE_NAME", "KONDUKTOR_USER_CHECKS")),
        ("list", ("KONDUKTOR_USER_CHECKS",)),
    ],
)
def test_every_option_of_the_node_part_is_documented(
    command: str, variables: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    section = reference("cli.md").split(f"## `konduktor-probe {command}`")[1].split("\n## ")[0]
    for option in options_of("konduktor-probe", command, capsys) - {"--help"}:
        assert f"`{option}`" in section, option
    for variable in variables:
        assert f"`{variable}`" in section


def test_every_setting_and_its_variable_is_documented() -> None:
    page = reference("settings.md")
    for key in setting_keys():
        assert f"| `{key}` |" in page, key
        if "[]" not in key:
            assert f"`{settings.ENV_PREFIX}{key.replace('.', '__').upper()}`" in page, key
    for variable in ("LOG_ENDPOINT", "WATCHED_NAMESPACES", "KONDUKTOR_DEBUG"):
        assert f"`{variable}`" in page
    assert settings.CONFIG_VARIABLE in page


def test_every_metric_is_documented() -> None:
    page = reference("metrics.md")
    names = set(re.findall(r"^# TYPE (\S+) ", Metrics().render().decode(), re.M))
    assert len(names) > 10
    for name in names - {name for name in names if name.endswith("_created")}:
        assert f"`{name}" in page, name


def test_every_hold_reason_is_explained() -> None:
    for reason in HoldReason:
        assert f"| `{reason.value}` |" in reference("hold-reasons.md"), reason
        assert reason.value in reference("metrics.md"), reason
        everywhere = (DOCS / "design/decide.md").read_text() + (
            DOCS / "concepts/safety.md"
        ).read_text()
        assert reason.value in everywhere, reason


def test_every_condition_and_event_reason_is_documented() -> None:
    """Reasons written in the code as text; those of holds are looked at above."""
    page = reference("events-and-conditions.md")
    sources = [*(ROOT / "konduktor_health/core").glob("*.py")]
    sources += (ROOT / "konduktor_health/runtime").glob("*.py")
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            name = (
                node.func.id
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                else ""
            )
            position = {"Condition": 1, "PublishEvent": 3}.get(name)
            if position is not None and isinstance(node, ast.Call) and len(node.args) > position:
                reason = node.args[position]
                if isinstance(reason, ast.Constant):
                    found.add(str(reason.value))
    assert {"FatalFault", "SuspectFault", "NoActingFault", "Reset"} <= found
    for each in found:
        assert f"`{each}`" in page, each
    for hold in (HoldReason.BUDGET, HoldReason.RATE, HoldReason.TAINT_REMOVED):
        assert f"`{hold.value}`" in page


def test_every_event_of_an_operators_command_is_documented() -> None:
    for event in OperatorEvent:
        assert f"`{event.value}`" in reference("events-and-conditions.md"), event


def test_every_key_on_the_cluster_is_documented() -> None:
    page, keys = reference("keys.md"), Keys()
    names = [keys.taint, keys.ledger, keys.health, keys.reset_at, keys.managed, keys.condition]
    names += [f"{keys.ledger}-corrupt", EVENT_NAMESPACE, keys.hold, keys.maintenance]
    names.append(keys.testing)
    names += [f"true:{effect.value}" for effect in Effect if effect is not Effect.LABEL]
    names.append(OPERATOR_TAINT)
    for name in names:
        assert f"`{name}`" in page, name
    assert f"Lease `{settings.LeaseSettings().name}`" in page
    assert f"ConfigMap `{STATE_NAME}`" in page


def test_every_endpoint_is_documented() -> None:
    code = string_constants(ROOT / "konduktor_health/runtime/http.py")
    endpoints = {text for text in code if re.fullmatch(r"/[a-z]+", text)}
    assert {"/metrics", "/healthz", "/readyz"} <= endpoints
    for endpoint in endpoints:
        assert f"| `{endpoint}` |" in reference("http.md"), endpoint


def test_every_exit_code_is_documented() -> None:
    def below(root: type[errors.HealthError]) -> Iterator[type[errors.HealthError]]:
        yield root
        for child in root.__subclasses__():
            yield from below(child)

    codes = {0, 130, HUNG_EXIT_CODE} | {each.exit_code for each in below(errors.HealthError)}
    for code in codes:
        assert f"| {code} |" in reference("exit-codes.md"), code


def test_the_vocabulary_has_every_word() -> None:
    page = (DOCS / "concepts/vocabulary.md").read_text()
    for word in [*Severity, *Remedy, *Trust, *Verdict]:
        assert f"`{word.value}`" in page, word


def test_the_forwarders_lines_are_described_and_read() -> None:
    page = REFERENCE / "kmsg-format.md"
    lines = [line for block in blocks(page, "json") for line in block.splitlines()]
    assert [json.loads(line)["kind"] for line in lines] == ["record", "heartbeat", "missed"]
    code = set(string_constants(ROOT / "probes/kmsg/output.py"))
    for line in lines:
        for field in json.loads(line):
            assert f"| `{field}` |" in page.read_text(), field
            assert field in code, field
    record, heartbeat, missed = map(unwrap, lines)
    assert record.facility == 0
    assert record.text.startswith("NVRM: Xid (PCI:0000:3b:00): 79")
    assert heartbeat.heartbeat
    assert missed.missed == 12


def test_every_dependency_has_its_reason() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [*config["options"]["install_requires"].splitlines()]
    for extra in config["options.extras_require"].values():
        lines += extra.splitlines()
    names = {re.split(r"[\s\[<>=!~;]", line.strip())[0] for line in lines if line.strip()}
    assert "pydantic" in names
    assert "pytest" in names
    page = reference("dependencies.md")
    for name in names:
        assert re.search(rf"^\|.*`{re.escape(name)}`", page, re.M), name


# ---------------------------------------------------------------- nothing is made up


def test_settings_and_variables_that_pages_mention_exist() -> None:
    keys = set(setting_keys())
    groups = "|".join({key.split(".")[0] for key in keys if "." in key and "[]" not in key})
    inside = {key.rpartition(".")[0] for key in keys if key.count(".") == 2}
    variables = {f"{settings.ENV_PREFIX}{key.replace('.', '__').upper()}" for key in keys}
    variables |= {settings.CONFIG_VARIABLE, settings.CACHE_VARIABLE}
    for page in PAGES:
        text = page.read_text()
        for key in re.findall(rf"`((?:{groups})(?:\.[a-z_]+)+)`", text):
            inner = key.rpartition(".")[0]
            if key.count(".") == 1 or inner in inside:  # else a module of ``probes``
                assert key in keys | inside, f"{page.name}: {key}"
        for variable in re.findall(rf"\b{settings.ENV_PREFIX}[A-Z_]+(?!<)\b", text):
            assert variable in variables or variable.endswith("__"), f"{page.name}: {variable}"


def test_metrics_that_pages_mention_exist() -> None:
    page = reference("metrics.md")
    for other in each_page(beside="metrics.md"):
        for name in re.findall(rf"`({NAMESPACE}_[a-z_]+)`", other.read_text()):
            assert f"`{name}`" in page, f"{other.name}: {name}"


def test_commands_that_pages_show_exist(capsys: pytest.CaptureFixture[str]) -> None:
    shown = 0
    for page in PAGES:
        text = "\n".join(blocks(page, "", "sh", "shell", "console"))
        commands = [line for line in text.splitlines() if "konduktor-" in line]
        commands += re.findall(r"`(konduktor-(?:health|probe) [^`]+)`", page.read_text())
        for line in commands:
            called = re.search(r"(?:^|\| |=\S* )(konduktor-(?:health|probe)) ([a-z]+)\b(.*)", line)
            if called is None:
                continue
            program, command, rest = called.groups()
            if (group := re.match(r" ([a-z]+)\b", rest)) and f"{command} {group[1]}" in COMMANDS:
                command, rest = f"{command} {group[1]}", rest[group.end() :]
            known = options_of(program, command, capsys)
            assert command in [*COMMANDS, *PROBE_COMMANDS], f"{page.name}: {line}"
            given = [word for word in shlex.split(rest, comments=True) if word.startswith("-")]
            for word in given:
                assert word.split("=")[0] in known | {"-"}, f"{page.name}: {line}"
            shown += 1
    assert shown > 20


def test_make_targets_that_pages_show_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z0-9-]+)\b", page.read_text(), re.M):
            assert target in targets, f"{page.name}: make {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_of_settings_can_be_loaded(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page, "yaml")):
        if block.startswith("apiVersion:"):  # objects for the cluster
            assert all(each["kind"] and each["metadata"] for each in yaml.safe_load_all(block))
            continue
        content = yaml.safe_load(block)
        assert content
        if block.startswith("# rules.yaml"):  # of a site
            assert judge(block.encode()).problems == ()
            continue
        if block.startswith("# policy.yaml"):  # tests/unit/docs/test_policy_guide.py plays it
            assert Reader().judge(block.encode()).problems == ()
            continue
        if content.get("kind") == "Role":  # tests/e2e/test_probe_command.py runs with these
            assert content["rules"] == RULES
            continue
        if block.startswith("# my-values.yaml"):  # of the chart; the rest is its schema's matter
            assert content.keys() <= chart_values().keys()
            content = content.get("settings", {})
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(content))
        assert build_specs(settings.load(file, environ={}))


def chart_values() -> dict[str, Any]:
    """The chart's values with their defaults."""
    text = (ROOT / "deploy/helm/konduktor-health/values.yaml").read_text()
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in slugs, target


def test_pages_that_the_code_names_exist() -> None:
    folders = ("konduktor_health", "parsers", "probes", "benchmarks", "tests")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    files += [ROOT / name for name in ("Makefile", "setup.cfg", "pyproject.toml")]
    for file in files:
        for name in re.findall(r"\bdocs/[a-z/-]+\.(?:md|py)\b", file.read_text()):
            assert (ROOT / name).is_file(), f"{file.relative_to(ROOT)}: {name}"


def test_every_page_is_on_the_map() -> None:
    map_page = (DOCS / "README.md").read_text()
    for page in DOCS.rglob("*.md"):
        if page.name != "README.md":
            assert f"]({page.relative_to(DOCS).as_posix()})" in map_page, page.name


# ---------------------------------------------------------------- tone and place


@pytest.mark.parametrize(
    "forbidden",
    [
        r"/home/\w", r"/root\b", r"/Users/", r"/work/", r"[A-Z]:\\",
        r"\b(?:docker|ghcr|quay|gcr)\.io\b", r"registry\.k8s\.io", r"nvcr\.io",
        r"pypi\.org", r"pythonhosted", r"proxy\.golang\.org", r"npmjs",
    ],
)  # fmt: skip
def test_no_page_names_a_machine_or_a_registry(forbidden: str) -> None:
    for page in PAGES:
        assert not re.search(forbidden, page.read_text()), page.name


def test_the_readme_begins_with_what_it_is_and_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.match(r"# konduktor-health\n", text)
    before, first_block = text.split("```", 2)[:2]
    assert "\n## " not in before
    assert len(before.strip().split("\n\n")) == 3  # title and two paragraphs
    assert re.findall(r"^make (\w+)", first_block, re.M) == ["demo", "test"]
