from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.check import NodeFacts
from probes.processes.seen import ProcessId
from probes.runner.job import Job
from probes.runner.marks import Mark
from probes.runner.messages import LINE_LIMIT, GarbageError, LineReader, decode, encode
from probes.userchecks.definition import UserCheck

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.text(max_size=50))
def test_a_message_is_read_as_it_was_written(name: str) -> None:
    line = encode("begin", check=name)

    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == {"m": "begin", "check": name}


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_read_is_a_message_or_refused(line: bytes) -> None:
    try:
        message = decode(line)
    except GarbageError:
        return
    assert message["m"] in {"begin", "backend", "finding", "left", "keep", "done", "end"}


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[1]", b'{"m": "end"', b'{"m": "pass"}', b'{"m": "begin", "check": 1}',
     b'{"m": ["end"]}', b'{"m": "finding", "finding": "pass"}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(GarbageError):
        decode(line)


def test_no_number_and_no_object_is_sent() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode("keep", keep={"x": float("nan")})
    with pytest.raises(TypeError):
        encode("keep", keep={"x": object()})
    with pytest.raises(OverflowError):
        encode("keep", keep={"x": "y" * LINE_LIMIT})


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20)), st.data()
)
def test_lines_are_whole_however_the_pieces_are_cut(texts: list[str], data: st.DataObject) -> None:
    content, reader, lines = "".join(f"{text}\n" for text in texts).encode(), LineReader(), []
    while content:
        cut = data.draw(st.integers(1, len(content)))
        lines += reader.feed(content[:cut])
        content = content[cut:]

    assert [line.decode() for line in lines] == texts


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    reader = LineReader()
    assert reader.feed(b"x" * (LINE_LIMIT - 10)) == []
    with pytest.raises(GarbageError):
        reader.feed(b"x" * 11)
    with pytest.raises(GarbageError):
        LineReader().feed(b"x" * (LINE_LIMIT + 1) + b"\n")


def test_a_job_arrives_as_it_was_sent() -> None:
    job = Job(
        checks=("a", "b"),
        registry="x:y",
        backend="x:z",
        user_checks=(UserCheck("site-a", "A?", "/bin/true", ("--fast",)),),
        root="/host",
        boot_id="a" * 32,
        node=NodeFacts("n", {"l": "v"}, 8, {"a/b": 1.5}, {"m": {"eth0": ("10.0.0.7",)}}),
        options={"a": {"x": "é\n"}},
        before={"a": {"count": [1, None]}},
    )

    assert Job.from_bytes(job.to_bytes()) == job


@given(st.text(max_size=40))
def test_no_text_is_a_mark_by_accident_and_none_breaks_the_reading(text: str) -> None:
    mark = Mark("pid:[1]", ProcessId(7, 8), "ab")
    assert not mark.covers(text)


def test_a_mark_covers_what_its_checks_start_and_nothing_else() -> None:
    mark = Mark("pid:[4026531836]", ProcessId(7, 8), "ab12cd34")

    assert Mark.parse(str(mark)) == mark
    assert mark.covers(f"{mark}/gpu-ecc")
    assert not mark.covers(str(Mark(mark.namespace, ProcessId(7, 9), mark.nonce)))
    assert not mark.covers(str(Mark(mark.namespace, mark.owner, "00000000")))
    found = Mark.parse(f"{mark}/gpu-ecc")
    assert found is not None
    assert found.check == "gpu-ecc"
