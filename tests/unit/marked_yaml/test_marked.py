"""YAML with places: what it says, what is refused, and where."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.marked_yaml.marked import SIZE_LIMIT, dotted, read_marked
from konduktor_health.adapters.marked_yaml.problem import Malformed


def test_every_value_and_key_knows_its_place() -> None:
    marked = read_marked(b"version: 1\nkernel:\n  - fault_id: 'kernel/x'\n    patterns: [abc]\n")
    assert marked.value == {
        "version": 1, "kernel": [{"fault_id": "kernel/x", "patterns": ["abc"]}],
    }  # fmt: skip
    assert marked.place(("version",)) == (1, 10)
    assert marked.key(("kernel",)) == (2, 1)
    assert marked.place(("kernel", 0, "fault_id")) == (3, 16), "behind the quotation mark"
    assert marked.place(("kernel", 0, "patterns", 0)) == (4, 16)
    assert marked.place(("kernel", 0, "remedy")) == (3, 5), "missing: where its rule begins"
    assert marked.problems == ()


def test_a_text_with_and_without_quotes_is_verbatim_and_a_folded_one_is_not() -> None:
    marked = read_marked(b"a: code = 1\nb: 'code'\nc: |\n  code\nd: 'it''s'\n")
    assert marked.verbatim == {("a",), ("b",)}


def test_a_time_without_quotes_is_a_text_only_where_it_may_be() -> None:
    content = b"a: 2027-01-31T22:00:00Z\n"
    assert read_marked(content, times_are_texts=True).value == {"a": "2027-01-31T22:00:00Z"}
    assert "taken for 'timestamp'" in read_marked(content).problems[0].message


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"a: *x", (1, 4), "alias *x: aliases are not taken"),
        (b"a: &x [1]\nb: [*x, *x]", (2, 5), "alias *x"),
        (b"a: [", (2, 1), "not valid YAML"),
        (b"ok: 1\na: \xff", (2, 4), "byte 0xff is not UTF-8"),
        (b"a: 1\nb: \x01b", (2, 4), "is not allowed in YAML"),
        (b"[" * 20, (1, 17), "more than 16 levels deep"),
        (b"a: 1\n---\nb: 2", (2, 1), "another document"),
        (b"a: b: c", (1, 5), "not valid YAML"),
        (b"x" * (SIZE_LIMIT + 1), (1, 1), "bytes"),
    ],
)
def test_what_cannot_be_read_has_its_place(
    content: bytes, place: tuple[int, int], message: str
) -> None:
    with pytest.raises(Malformed) as raised:
        read_marked(content)
    problem = raised.value.problem
    assert (problem.line, problem.column) == place
    assert message in problem.message


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a: 1\nb: 2\na: 3", 3, "key 'a' is there twice"),
        (b"a:\n  x: 1\n  x: 1", 3, "key 'x' is there twice"),
        (b"1: a", 1, "key 1 is no text"),
        (b"? [a]\n: b", 1, "is no text"),
        (b"a: !!python/name:os.system x", 1, "'x' is taken for 'python/name:os.system'"),
        (b"a: !!timestamp x", 1, "'x' is taken for 'timestamp'"),
        (b"a: !!bool x", 1, "'x': not of the kind bool"),
        (b"a: !!int x", 1, "'x': not of the kind int"),
        (b"a: !!set {b}", 1, "tags are not taken"),
        (b"a: 2\nb: !foo [1]", 2, "tag '!foo': tags are not taken"),
        (b"<<: {a: 1}", 1, "'<<' is taken for 'merge'"),
        (b"a: !foo x", 1, "'x' is taken for '!foo'"),
        (b"a: 2020-13-45", 1, "'2020-13-45' is taken for 'timestamp'"),
    ],
)
def test_what_is_odd_is_a_problem_and_the_rest_is_read(
    content: bytes, line: int, message: str
) -> None:
    (problem,) = read_marked(content).problems
    assert problem.line == line
    assert message in problem.message


def test_a_file_of_nothing_is_none() -> None:
    assert read_marked(b"").value is None
    assert read_marked(b"# only words\n").value is None


def test_a_path_is_written_as_one_would() -> None:
    assert dotted(("kernel", 0, "patterns", 1)) == "kernel[0].patterns[1]"


@given(st.binary(max_size=60))
def test_bytes_are_read_or_malformed(content: bytes) -> None:
    with contextlib.suppress(Malformed):
        read_marked(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_what_yaml_says_is_what_is_read(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=False)
    if yaml.safe_load(text) == value and "*" not in text:
        marked = read_marked(text.encode())
        assert marked.value == value
        assert marked.problems == ()
