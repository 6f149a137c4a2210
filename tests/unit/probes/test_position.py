from __future__ import annotations

from pathlib import Path

import pytest

from probes.kmsg.position import Position, PositionFile


def test_without_a_file_there_is_no_past(tmp_path: Path) -> None:
    assert PositionFile(str(tmp_path / "state.json")).start_after("a") is None


def test_what_was_saved_is_found_again_in_the_same_boot_only(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    PositionFile(path).save(Position("a", 41))
    PositionFile(path).save(Position("a", 42))

    assert PositionFile(path).start_after("a") == 42
    assert PositionFile(path).start_after("b") == -1
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"boot_id": "a", "seq": "1"}', '{"boot_id": "a", "seq": -9}'],
)
def test_a_damaged_file_means_that_nothing_was_delivered(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)

    assert PositionFile(str(path)).start_after("a") == -1


def test_a_failed_save_leaves_the_old_position(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    positions = PositionFile(str(path))
    positions.save(Position("a", 1))
    lost = PositionFile(str(tmp_path / "missing" / "state.json"))

    with pytest.raises(OSError, match="No such file"):
        lost.save(Position("a", 2))
    assert PositionFile(str(path)).start_after("a") == 1


def test_a_file_of_arbitrary_bytes_is_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"\xff\xfe")

    assert PositionFile(str(path)).start_after("a") == -1
