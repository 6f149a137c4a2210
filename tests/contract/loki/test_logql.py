"""Which lines pass the filters that we send, and which queries are refused?"""

from __future__ import annotations

import pytest

from tests.support.loki_http import MINUTE, LokiHttp, now_ns, own_label, selector

XID = "[ 12.5] NVRM: Xid (PCI:0000:1b:00): 79, pid=1, GPU has fallen off the bus."
SXID = "[ 13.0] nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30"
QUIET = "[ 14.0] usb 1-1: new device"
QUOTED = 'say "hi" to `it`'
LOWER = "[ 15.0] nvrm: xid"
ALL = [XID, SXID, QUIET, QUOTED, LOWER]


@pytest.fixture(scope="module")
def own(loki: LokiHttp) -> dict[str, str]:
    labels, base = own_label(), now_ns() - MINUTE
    nodes = ["n1", "n2", "n1", "", "n3"]
    loki.push(
        labels,
        [
            (base + i, line, {"k8s_node_name": node} if node else {})
            for i, (line, node) in enumerate(zip(ALL, nodes, strict=True))
        ],
    )
    return labels


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ('|= "NVRM: Xid"', [XID]),
        ('|= "NVRM: Xid" or "SXid" or `usb`', [XID, SXID, QUIET]),
        ('|= "Xid" |= "Fatal"', [SXID]),
        ('|= "Xid" != "Fatal"', [XID]),
        ('!= "Xid"', [QUIET, QUOTED, LOWER]),
        ('!= "Xid" or "usb"', [QUOTED, LOWER]),
        ('!= "8c6f2a"', ALL),  # a nonce
        ('|= ""', ALL),
        ('!= ""', []),
        ('|~ "NVRM: Xid|SXid"', [XID, SXID]),
        ('|~ "(?i)nvrm: xid"', [XID, LOWER]),
        ('|~ "xid$" or `^say`', [QUOTED, LOWER]),
        (r'|~ "\\[ 1[23]\\.\\d\\]"', [XID, SXID]),
        (r"|~ `\[ 1[23]\.\d\]`", [XID, SXID]),
        ('!~ "Xid|xid"', [QUIET, QUOTED]),
        ('!~ "^say" or "usb"', [XID, SXID, LOWER]),
        (r'|= "say \"hi\" to `it`"', [QUOTED]),
        ('|= `say "hi"`', [QUOTED]),
        (r'|= "\x58id"', [XID, SXID]),
        ('|= "Xid" # why\n|= "Fatal"', [SXID]),
        ('| k8s_node_name="n1"', [XID, QUIET]),
        ('|= "Xid" | k8s_node_name="n1"', [XID]),
        ('| k8s_node_name=~"n1|n2"', [XID, SXID, QUIET]),
        ('| k8s_node_name=~"n"', []),  # anchored
        ('| k8s_node_name!="n1"', [SXID, QUOTED, LOWER]),
        ('| k8s_node_name!~"n.*"', [QUOTED]),
        ('| k8s_node_name=""', [QUOTED]),
        ('| nope="x"', []),
        ('| service_name="unknown_service"', ALL),
    ],
)  # fmt: skip
def test_filters_keep(
    loki: LokiHttp, own: dict[str, str], stages: str, expected: list[str]
) -> None:
    assert loki.lines(f"{selector(own)} {stages}") == expected


def test_matchers_of_the_selector_are_anchored_and_see_absent_labels_as_empty(
    loki: LokiHttp,
) -> None:
    own, now = own_label(), now_ns()
    loki.push({**own, "node": "gpu-1"}, [(now, "one")])
    loki.push({**own, "node": "gpu-2"}, [(now + 1, "two")])
    loki.push(own, [(now + 2, "none")])

    def found(matcher: str) -> list[str]:
        return loki.lines(f'{{case="{own["case"]}", {matcher}}}', end=now + MINUTE)

    assert found('node="gpu-1"') == ["one"]
    assert found('node=~"gpu-.*"') == ["one", "two"]
    assert found('node=~"gpu"') == []
    assert found('node!="gpu-1"') == ["two", "none"]
    assert found('node!~"gpu-2|"') == ["one"]
    assert found('node=""') == ["none"]
    assert found('node=~".+"') == ["one", "two"]


def test_structured_metadata_cannot_be_selected_like_an_index_label(
    loki: LokiHttp, own: dict[str, str]
) -> None:
    assert loki.lines(f'{{case="{own["case"]}", k8s_node_name="n1"}}') == []


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "parse error : syntax error: unexpected $end"),
        ("{", ("parse error at line 1, col 2: syntax error: unexpected $end, "
              "expecting IDENTIFIER or }")),
        ('{case="x"', ("parse error at line 1, col 10: syntax error: unexpected $end, "
                      "expecting } or ,")),
        ('{case="x"}}', "parse error at line 1, col 11: syntax error: unexpected }"),
        ("{case=x}", ("parse error at line 1, col 7: syntax error: unexpected IDENTIFIER, "
                     "expecting STRING")),
        ('{case="x"} |= "a', "parse error at line 1, col 15: literal not terminated"),
        ('{case="x"} |= "a" "b"', ("parse error at line 1, col 19: syntax error: "
                                  "unexpected STRING")),
        ('{case=~"("}', "parse error : error parsing regexp: missing "),
        ('{case="x"} |~ "("', "parse error : stage '|~ \"(\"' : error parsing regexp: missing "),
        ('{case="x"} |~ "(?=x)"', ("parse error : stage '|~ \"(?=x)\"' : error parsing regexp: "
                                  "invalid or unsupported Perl syntax: `(?=")),
    ],
)  # fmt: skip
def test_a_bad_query_is_refused_with_its_place(loki: LokiHttp, query: str, text: str) -> None:
    answer = loki.ask(query)

    assert answer.status_code == 400
    assert answer.text.startswith(text)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "pattern", ["a(?!b)", "(?<=a)b", r"(a)\\1", "a++", "*a", "a{2000}", r"a\\Z", "[z-a]", "a)"]
)
def test_patterns_that_re2_does_not_know_are_refused(loki: LokiHttp, pattern: str) -> None:
    answer = loki.ask(f'{selector(own_label())} |~ "{pattern}"')

    assert answer.status_code == 400
    assert answer.text.startswith("parse error : stage '|~ ")


def test_with_categorized_labels_a_bad_pattern_is_empty_instead_of_refused(
    loki: LokiHttp, own: dict[str, str]
) -> None:
    """A trap: a query must be tried once without the header before silence means anything."""
    query = f'{selector(own)} |~ "("'

    assert loki.ask(query).status_code == 400
    assert loki.streams(query, categorize=True) == []


@pytest.mark.parametrize(
    "matchers", ["", 'case!="x"', 'case=""', 'case=~".*"', 'case=~"x|"', 'case!~"x"']
)
def test_a_selector_that_selects_nothing_in_particular_is_refused(
    loki: LokiHttp, matchers: str
) -> None:
    answer = loki.ask(f"{{{matchers}}}")

    assert answer.status_code == 400
    assert answer.text.startswith(
        "parse error : queries require at least one regexp or equality matcher that does not "
        "have an empty-compatible value"
    )


def test_a_query_longer_than_allowed_is_refused(loki: LokiHttp) -> None:
    query = f'{selector(own_label())} |= "{"x" * 132_000}"'

    answer = loki.request("POST", "/loki/api/v1/query_range", data={"query": query})

    assert answer.status_code == 400
    assert answer.text == f"parse error : input size too long ({len(query)} > 131072)"


def test_log_queries_are_refused_as_instant_queries(loki: LokiHttp) -> None:
    params = {"query": selector(own_label())}

    answer = loki.request("GET", "/loki/api/v1/query", params=params)

    assert answer.status_code == 400
    assert answer.text.startswith("log queries are not supported as an instant query type")
