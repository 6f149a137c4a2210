"""Which characters of a hostile text are kept?

Two answers. ``clean`` prepares a line for matching: nothing that it removes can join two
pieces into a text that a server-side filter would not have seen in the raw line (see
``parsers.tables.Tables.literals``). ``printable`` prepares evidence for display: one line, bounded,
no control characters, no bidirectional controls. Both take linear time.
"""

from __future__ import annotations

import re

#: Stands where a character was that a terminal would act on.
REPLACEMENT = "\ufffd"

_COLOURS = re.compile(r"(?:\x1b(?:\[[0-9;?]{0,16}[A-Za-z]|\(B))+")
# /dev/kmsg prints control characters, bytes above 127 and the backslash as \xNN. Letters are
# never printed so; decoding them would let a line hide from the server's filter.
_ESCAPES = re.compile(r"(?:\\x(?:[01][0-9a-f]|5c|7f|[89a-f][0-9a-f]))+")
_ASCII = bytes(range(0x20, 0x7F))
_BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str, *, escapes: bool = True) -> str:
    """``text`` without colours and surrounding blanks; other control characters replaced.

    Printable text is returned as it is, apart from blanks at both ends. Surrogates of an
    undecodable byte and every control character but the tab become U+FFFD. Escapes of
    /dev/kmsg (``\\xNN``) are decoded as UTF-8, unless ``escapes`` is False.
    """
    text = text.strip()
    if escapes and "\\x" in text:
        text = _ESCAPES.sub(_decode_escapes, text)
    if text.isprintable():
        return text
    if "\x1b" in text:
        text = _COLOURS.sub(_drop_at_edge, text)
    kept = (c if c.isprintable() or c == "\t" else REPLACEMENT for c in text)
    return "".join(kept).strip()


def is_plain(text: str) -> bool:
    """True if there is nothing in a text that ``clean`` would change, but for blanks around it."""
    if "\\x" in text:
        return False
    if text.isascii():  # half the time of isprintable
        return not text.encode().translate(None, _ASCII)
    return text.isprintable()


def printable(text: str, limit: int) -> str:
    """One printable line of at most ``limit`` characters; an ellipsis marks a cut."""
    text = text[: 4 * limit]
    if not text.isprintable():
        text = _BIDI.sub("", text)
        text = "".join(c if c.isprintable() else " " for c in text)
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _decode_escapes(match: re.Match[str]) -> str:
    return bytes.fromhex(match.group().replace("\\x", "")).decode("utf-8", "replace")


def _drop_at_edge(match: re.Match[str]) -> str:
    """Colours are dropped where dmesg puts them; anywhere else they leave a mark."""
    before = match.string[max(0, match.start() - 2) : match.start()]
    at_edge = not before or match.end() == len(match.string)
    return "" if at_edge or before in (": ", "] ") or before[-1] in ":]" else REPLACEMENT
