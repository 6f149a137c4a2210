"""Which network interfaces has this network namespace, and is an address one of its own?

Asked of the kernel through sockets, which belong to the namespace of the caller; sysfs shows that
of whoever mounted it.
"""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFFLAGS = 0x8913  # linux/sockios.h
_IFF_UP, _IFF_RUNNING = 0x1, 0x40  # linux/if.h


def interfaces() -> dict[str, bool]:
    """Each interface by name, and whether it is up and has a carrier."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("16sH14x", name.encode()[:15], 0)
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, request)
            except OSError:  # gone meanwhile
                continue
            flags = struct.unpack("16sH14x", answer)[1]
            found[name] = bool(flags & _IFF_UP and flags & _IFF_RUNNING)
    return found


def is_own(address: str) -> bool:
    """Whether the address is one of this namespace: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trying:
            trying.bind((address, 0))
    except OSError:
        return False
    return True
