"""Is this request the controller's, for this node, for now, and for the first time?

In this order: a key is held, there is a signature, the key made it over the endpoint and the raw
body (only then is the body looked at), the node is this one, the time is right, the nonce is new.
"""

from __future__ import annotations

import base64
import binascii
import math

from probes.agent.clocks import Clock
from probes.agent.keys import PublicKeys
from probes.agent.nonces import Nonces, ReplayedError, UncertainError
from probes.agent.options import CLOCK_SKEW_S
from probes.agent.refusals import Refusal
from probes.report import (
    LONGEST_VALIDITY_S,
    SIGNATURE_HEADER,
    NodeSettings,
    RunRequest,
    signed_bytes,
)

_LONGEST_NS = int(LONGEST_VALIDITY_S * 1e9)
_SIGNATURE_BYTES = 64  # RFC 8032


#: What every signed body has: node, issued_ns, expires_ns, nonce.
Signed = RunRequest | NodeSettings


class Signatures:
    """Any thread."""

    def __init__(
        self,
        keys: PublicKeys,
        nonces: Nonces,
        clock: Clock,
        *,
        node: str,
        skew_s: float = CLOCK_SKEW_S,
    ) -> None:
        self._keys, self._nonces, self._clock, self._node = keys, nonces, clock, node
        self._skew_s, self._skew_ns = skew_s, int(skew_s * 1e9)

    def check(self, endpoint: str, header: str | None, body: bytes) -> None:
        """Raises Refusal: no_keys, unsigned, bad_signature."""
        if not self._keys.ids():
            raise Refusal(
                "no_keys",
                "this agent holds no public key, so it takes nothing signed",
                "mount the controller's public key and name it with --keys",
            )
        if not header:
            raise Refusal(
                "unsigned",
                f"the header {SIGNATURE_HEADER} is missing",
                "only the controller may ask for this; it signs its requests",
                headers={"WWW-Authenticate": "Konduktor-Ed25519"},
            )
        name, _, encoded = header.partition(":")
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            signature = b""
        right_size = len(signature) == _SIGNATURE_BYTES
        if not right_size or not self._keys.verifies(name, signature, signed_bytes(endpoint, body)):
            raise Refusal(
                "bad_signature",
                "no key that this agent holds made this signature over this body",
                f"keys held: {', '.join(self._keys.ids()[:8])}",
            )

    def addressed(self, request: Signed) -> None:
        """Is it for this node, and for now? Raises Refusal: foreign_node, expired."""
        if request.node != self._node:
            raise Refusal(
                "foreign_node",
                f"signed for {request.node!r}, and this is {self._node!r}",
                "a pod's address belongs to another pod once the first is gone",
            )
        self._check_time(request)

    def take(self, request: Signed) -> None:
        """Use up its nonce, before it is acted on. Raises Refusal: replayed, uncertain,
        state_unwritable."""
        try:
            self._nonces.take(
                request.nonce, issued_ns=request.issued_ns, expires_ns=request.expires_ns
            )
        except ReplayedError as error:
            raise Refusal("replayed", str(error), "sign a new request") from error
        except UncertainError as error:
            seconds = math.ceil(error.again_s) or 1
            raise Refusal(
                "uncertain",
                str(error),
                f"sign a new request in {seconds} s",
                headers={"Retry-After": str(seconds)},
            ) from error
        except OSError as error:
            raise Refusal(
                "state_unwritable",
                f"the nonce cannot be kept: {error.strerror or error}",
                "see to the node's disk; without a record a request could be replayed",
            ) from error

    def _check_time(self, request: Signed) -> None:
        now = self._clock.now_ns()
        valid_ns = request.expires_ns - request.issued_ns
        if valid_ns <= 0 or valid_ns > _LONGEST_NS:
            raise Refusal(
                "expired",
                f"good for {valid_ns / 1e9:g} s; more than 0 and at most"
                f" {LONGEST_VALIDITY_S:g} s are taken",
            )
        hint = f"clocks may be {self._skew_s:g} s apart; compare this node's with the controller's"
        if request.issued_ns > now + self._skew_ns:
            ahead = (request.issued_ns - now) / 1e9
            raise Refusal("expired", f"issued {ahead:.0f} s ahead of this node's clock", hint)
        if now > request.expires_ns + self._skew_ns:
            late = (now - request.expires_ns) / 1e9
            raise Refusal("expired", f"expired {late:.0f} s ago by this node's clock", hint)
