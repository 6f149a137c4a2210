"""Which Node does a name in a log stream mean? Exact name, alias, host part; never a guess.

An alias (address, host name, provider's id) that two Nodes share means nobody. An exact Node
name always wins. Of a dotted name that is no Node's, the host part is tried; a short name finds
the Node whose own name or alias begins with it up to the first dot, if it is only one.
Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterable


class NameIndex:
    """Names and aliases of all Nodes of the cluster."""

    def __init__(self) -> None:
        self._aliases: dict[str, tuple[str, ...]] = {}  # node -> its aliases
        self._by_alias: dict[str, tuple[str, ...]] = {}  # alias -> nodes
        self._by_host: dict[str, tuple[str, ...]] = {}  # host part -> nodes

    def __contains__(self, name: str) -> bool:
        return name in self._aliases

    def names(self) -> list[str]:
        """All Node names."""
        return list(self._aliases)

    def put(self, name: str, aliases: Iterable[str]) -> None:
        """Add a Node, or take up its new aliases."""
        wanted = tuple(aliases)
        if self._aliases.get(name) == wanted:
            return
        self.remove(name)
        self._aliases[name] = wanted
        for alias in _keys(wanted):
            _link(self._by_alias, alias, name)
        for host in _hosts(name, wanted):
            _link(self._by_host, host, name)

    def remove(self, name: str) -> None:
        """Forget a Node."""
        old = self._aliases.pop(name, None)
        if old is None:
            return
        for alias in _keys(old):
            _unlink(self._by_alias, alias, name)
        for host in _hosts(name, old):
            _unlink(self._by_host, host, name)

    def resolve(self, name: str) -> str | None:
        """The Node's name; None when unknown or ambiguous."""
        for candidate in dict.fromkeys((name, name.strip().lower().rstrip("."))):
            if candidate in self._aliases:
                return candidate
        if candidate in self._by_alias:
            return _only(self._by_alias[candidate])
        if "." not in candidate:
            return _only(self._by_host.get(candidate, ()))
        host = _host(candidate)
        if host in self._aliases:
            return host
        return _only(self._by_alias.get(host, ()))


def _keys(aliases: tuple[str, ...]) -> set[str]:
    return {alias.lower() for alias in aliases}


def _hosts(name: str, aliases: tuple[str, ...]) -> set[str]:
    return {host for each in (name, *aliases) if (host := _host(each.lower())) and host != each}


def _host(name: str) -> str:
    """First label of a dotted host name; nothing for addresses and names without a dot."""
    first, dot, rest = name.partition(".")
    is_address = ":" in name or rest.replace(".", "").isdigit()
    return first if dot and rest and not is_address else ""


def _only(nodes: tuple[str, ...]) -> str | None:
    return nodes[0] if len(nodes) == 1 else None


def _link(index: dict[str, tuple[str, ...]], key: str, name: str) -> None:
    index[key] = (*index.get(key, ()), name)


def _unlink(index: dict[str, tuple[str, ...]], key: str, name: str) -> None:
    left = tuple(each for each in index.get(key, ()) if each != name)
    if left:
        index[key] = left
    else:
        index.pop(key, None)
