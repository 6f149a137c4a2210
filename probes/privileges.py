"""How does a privileged container's process give up what it does not need?

containerd gives every capability to a privileged container, whatever the pod's ``capabilities``
say; /dev/kmsg needs the privileged container (its device), and the process only CAP_SYSLOG. So the
process drops the others itself, and stops being root: uid 0 owns the devices and the settings of
the kernel that a privileged container shows. Invariant: what is given up does not come back, not
even by running another program (no_new_privs). Per thread: call it before any thread starts.
"""

from __future__ import annotations

import ctypes
import os
import sys

CAP_SYSLOG = 34
USER = 65532  # "nonroot" of the usual base images; owns nothing on a node
# of linux/prctl.h and linux/capability.h
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 38, 23, 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_VERSION_3 = 0x20080522  # two words of each set
_LAST_CAPABILITY = 63


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class PrivilegeError(Exception):
    """The kernel refused, or this is no Linux."""


def drop_privileges(state: str = "") -> None:
    """Drop all capabilities but CAP_SYSLOG and the way to new ones; root becomes USER.

    ``state``: a file that USER has to be able to replace; its directory is made when it is not
    there, and given to USER when it is root's and empty. Raises PrivilegeError.
    """
    if not sys.platform.startswith("linux"):
        raise PrivilegeError("capabilities can be dropped on Linux only")
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        prctl, capget, capset = libc.prctl, libc.capget, libc.capset
    except (OSError, AttributeError) as error:
        raise PrivilegeError(f"this C library offers no way: {error}") from error
    _checked(prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    for capability in range(_LAST_CAPABILITY + 1):
        if prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1 and capability != CAP_SYSLOG:
            # Without CAP_SETPCAP it is refused; nothing can be had from the set then, either.
            prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if os.geteuid() == 0:
        _checked(prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps")
        _become_user(os.path.dirname(state))
    header, words = _Header(_VERSION_3, 0), (_Word * 2)()
    _checked(capget(ctypes.byref(header), words), "capget")
    for index, word in enumerate(words):
        kept = word.permitted & ((1 << CAP_SYSLOG) >> (32 * index)) & 0xFFFFFFFF
        word.effective, word.permitted, word.inheritable = kept, kept, 0
    _checked(capset(ctypes.byref(header), words), "capset")


def _become_user(folder: str) -> None:
    try:
        if folder and not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
            os.chown(folder, USER, USER)
        elif folder and os.stat(folder).st_uid == 0 and not os.listdir(folder):
            os.chown(folder, USER, USER)  # made by the kubelet for this container
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        raise PrivilegeError(f"root cannot become user {USER}: {what}") from error
    if folder and not os.access(folder, os.W_OK | os.X_OK):
        raise PrivilegeError(f"{folder} cannot be written by user {USER}: chown it, or remove it")


def _checked(answer: int, what: str) -> None:
    if answer != 0:
        raise PrivilegeError(f"{what}: {os.strerror(ctypes.get_errno())}")
