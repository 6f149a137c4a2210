"""Which Node does a name in a log stream mean?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.kube.names import NameIndex


def index(**nodes: tuple[str, ...]) -> NameIndex:
    made = NameIndex()
    for name, aliases in nodes.items():
        made.put(name, aliases)
    return made


def test_exact_name_alias_address_and_host_part() -> None:
    names = index(gpu1=("10.0.0.1", "i-0abc"))
    for name in ("gpu1", "GPU1", "10.0.0.1", "i-0abc", "gpu1.example.com", "I-0ABC.internal"):
        assert names.resolve(name) == "gpu1"
    for name in ("gpu2", "10.0.0.2", "10", "", "gpu1x.example.com"):
        assert names.resolve(name) is None


def test_a_short_name_finds_the_node_with_the_dotted_one() -> None:
    names = NameIndex()
    names.put("ip-10-0-0-1.ec2.internal", ())
    assert names.resolve("ip-10-0-0-1") == "ip-10-0-0-1.ec2.internal"
    names.put("ip-10-0-0-1.other.internal", ())
    assert names.resolve("ip-10-0-0-1") is None


def test_another_domain_is_another_machine() -> None:
    names = NameIndex()
    names.put("gpu1.site-a", ())
    assert names.resolve("gpu1.site-b") is None


def test_a_shared_alias_means_nobody_until_one_owner_is_left() -> None:
    names = index(a=("10.0.0.1",), b=("10.0.0.1",))
    assert names.resolve("10.0.0.1") is None
    names.remove("a")
    assert names.resolve("10.0.0.1") == "b"


def test_an_exact_name_wins_over_an_alias() -> None:
    assert index(a=("b",), b=()).resolve("b") == "b"


NAMES = st.sampled_from(["a", "b", "a.x", "b.x", "a.y", "10.0.0.1", "i-1"])


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3), st.booleans()), max_size=12))
def test_any_history_leaves_what_the_present_nodes_give(
    history: list[tuple[str, list[str], bool]],
) -> None:
    lived = NameIndex()
    present: dict[str, list[str]] = {}
    for name, aliases, stays in history:
        lived.put(name, aliases)
        present[name] = aliases
        if not stays:
            lived.remove(name)
            del present[name]
    fresh = NameIndex()
    for name, aliases in present.items():
        fresh.put(name, aliases)
    for query in ["a", "b", "a.x", "b.x", "a.y", "a.z", "10.0.0.1", "i-1"]:
        assert lived.resolve(query) == fresh.resolve(query)
        if query in present:
            assert lived.resolve(query) == query
