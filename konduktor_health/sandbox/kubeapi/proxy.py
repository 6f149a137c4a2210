"""What does a pod answer that is asked by way of the API server? ``pods/NAME:PORT/proxy/PATH``.

Passed on are method, path, query, body and headers, but for those of the connection and for
credentials, which the API server keeps to itself. A pod that does not answer is 503.

A real server refuses addresses of its own host; here everything is on loopback.
"""

from __future__ import annotations

import http.client
from urllib.parse import quote, urlencode

from konduktor_health.sandbox.kubeapi.route import Answer, Call, Target
from konduktor_health.sandbox.kubeapi.status import ApiError, bad_request
from konduktor_health.sandbox.kubeapi.store import Store

_TIMEOUT_S = 30.0
_NOT_PASSED = frozenset(
    {"accept-encoding", "authorization", "connection", "content-length", "host", "keep-alive"}
    | {"proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_BACK = frozenset({"etag", "retry-after", "cache-control", "allow"})


def proxied(call: Call, found: Target, store: Store) -> Answer:
    """The pod's answer. ApiError 404 without the pod, 503 where it does not answer."""
    name, _, port = found.name.removeprefix("http:").partition(":")
    pod = store.entry(found.resource, found.namespace, name).obj
    address = (pod.get("status") or {}).get("podIP")
    if port and not port.isdecimal():
        raise bad_request(f"invalid port {port[:20]!r}")
    if not address:
        raise ApiError(500, "address not allowed")
    path = quote(found.rest or "/") + ("?" + urlencode(call.query) if call.query else "")
    headers = {key: value for key, value in call.headers.items() if key not in _NOT_PASSED}
    connection = http.client.HTTPConnection(address, int(port or 80), timeout=_TIMEOUT_S)
    try:
        connection.request(call.method, path, call.body or None, headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(
            503, f"error trying to reach service: dial tcp {address}:{port}: {error}"
        ) from None
    finally:
        connection.close()
    told = {key.lower(): value for key, value in response.getheaders()}
    back = {key: value for key, value in told.items() if key in _BACK}
    return Answer(body, response.status, told.get("content-type", "text/plain"), back)
