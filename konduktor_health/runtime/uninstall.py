"""How is everything of ours taken off a cluster? Nodes first, then state and keys, then the Lease.

Every write is compare-and-swap, and what is to be removed is planned again from what is there;
so an interrupted run is repeated, and one Node that fails stops no other. The Lease goes last: a
controller that has started meanwhile is noticed by it, and keeps its state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from konduktor_health.core.uninstall import Removal, opted, other_prefixes, plan_removal
from konduktor_health.errors import Conflict, HealthError, NotFound, TransientError
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import Belongings, Cluster, OwnObject
from konduktor_health.runtime.vacancy import still_vacant
from konduktor_health.runtime.writers import Writers

ATTEMPTS = 5
GIVE_UP = 16  # Nodes in a row that the API server did not answer for: the others are not tried


@dataclass(frozen=True, slots=True)
class Place:
    """What lies beside the Nodes of one shard; the Lease as it was judged."""

    belongings: Belongings
    state: OwnObject | None
    lease: OwnObject | None

    @property
    def of(self) -> str:
        """For messages: whose."""
        return f" of shard {self.belongings.shard}" if self.belongings.shard else ""


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything of ours on the cluster, and what is left as it is."""

    nodes: tuple[tuple[NodeView, Removal], ...]
    places: tuple[Place, ...]
    opted: tuple[str, ...]  # Nodes with the user's own label
    other_prefixes: tuple[str, ...]  # domains of taints that look like ours
    signing: tuple[OwnObject, ...] = ()  # keys that requests to agents are signed with
    autopilot: bool = False  # Autopilot's labels are ours as well

    @property
    def objects(self) -> tuple[OwnObject, ...]:
        """Objects beside the Nodes, in the order in which they go."""
        each = (found for place in self.places for found in (place.state, place.lease))
        return (*self.signing, *(found for found in each if found is not None))


@dataclass(slots=True)
class Outcome:
    """What became of an uninstallation."""

    nodes: int = 0  # that carry nothing of ours any more
    deleted: list[OwnObject] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # Node, or kind of object: why


def survey(
    cluster: Cluster,
    keys: Keys,
    judged: Iterable[tuple[Belongings, OwnObject | None]],
    *,
    autopilot: bool = False,
) -> Survey:
    """Look for everything of ours; writes nothing. ``judged``: of each shard its Lease as it was
    judged. ``autopilot``: Autopilot's labels are ours as well."""
    judged = tuple(judged)
    views = cluster.list_nodes()
    views.sort(key=lambda view: view.name)
    planned = ((view, plan_removal(view, keys, autopilot=autopilot)) for view in views)
    return Survey(
        nodes=tuple((view, removal) for view, removal in planned if removal is not None),
        places=tuple(Place(each, each.state(), lease) for each, lease in judged),
        signing=judged[0][0].signing() if judged else (),
        opted=opted(views),
        other_prefixes=other_prefixes(views, keys),
        autopilot=autopilot,
    )


def clear_node(cluster: Cluster, view: NodeView, keys: Keys, *, autopilot: bool = False) -> None:
    """Take everything of ours off one Node. Conflicts are read again; a Node that is gone is
    done. Raises what Cluster raises."""
    for attempt in range(ATTEMPTS):
        try:
            if attempt:
                view = cluster.get_node(view.name)
            _clear_version(cluster, view, keys, autopilot)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
        except NotFound:
            return
        else:
            return


def _clear_version(cluster: Cluster, view: NodeView, keys: Keys, autopilot: bool) -> None:
    removal = plan_removal(view, keys, autopilot=autopilot)
    if removal is None:
        return
    if removal.edit is not None:
        view = cluster.edit_node(view, removal.edit)
    if removal.condition:
        cluster.clear_condition(view)


class Uninstallation:
    """Carries a Survey out. ``force``: whoever holds the Lease does not matter."""

    def __init__(
        self,
        cluster: Cluster,
        keys: Keys,
        *,
        writers: int,
        force: bool = False,
    ) -> None:
        self._cluster = cluster
        self._keys = keys
        self._writers = writers
        self._force = force
        self._lock = threading.Lock()
        self._outcome = Outcome()
        self._in_a_row = 0

    def run(self, found: Survey) -> Outcome:
        """Clear what was found. Raises LeadershipLost, before the first write, when a controller
        has taken the Lease since."""
        if not self._force:
            for place in found.places:
                still_vacant(place.belongings, place.lease)
        self._clear_nodes(found)
        self._delete_keys(found)
        for place in found.places:
            self._delete("ConfigMap", place, self._state)
            self._delete("Lease", place, self._lease)
        return self._outcome

    def _clear_nodes(self, found: Survey) -> None:
        writers = Writers(self._writers)
        jobs = [partial(self._clear, view, found.autopilot) for view, _ in found.nodes]
        try:
            writers.run(jobs, lambda: False)
        finally:
            writers.close()

    def _clear(self, view: NodeView, autopilot: bool) -> None:
        with self._lock:
            if self._in_a_row >= GIVE_UP:
                self._outcome.failed[view.name] = "not tried: the API server does not answer"
                return
        try:
            clear_node(self._cluster, view, self._keys, autopilot=autopilot)
        except HealthError as error:
            with self._lock:
                self._outcome.failed[view.name] = str(error)
                self._in_a_row = self._in_a_row + 1 if isinstance(error, TransientError) else 0
        else:
            with self._lock:
                self._outcome.nodes += 1
                self._in_a_row = 0

    def _state(self, place: Place) -> OwnObject | None:
        """Found first, then the Lease: a controller takes that before it writes its state, so what
        it writes later is another version than the one found."""
        found = place.belongings.state()
        if found is not None and not self._force:
            still_vacant(place.belongings, place.lease)
        return found

    def _lease(self, place: Place) -> OwnObject | None:
        if self._force:
            return place.belongings.lease()
        return still_vacant(place.belongings, place.lease)

    def _delete_keys(self, found: Survey) -> None:
        """As they were found: a controller that has started meanwhile may need newer ones."""
        for each in found.signing:
            try:
                found.places[0].belongings.delete(each)
            except HealthError as error:
                self._outcome.failed[f"{each.kind} {each.name}"] = str(error)
            else:
                self._outcome.deleted.append(each)

    def _delete(self, kind: str, place: Place, find: Callable[[Place], OwnObject | None]) -> None:
        try:
            for attempt in range(ATTEMPTS):
                found = find(place)
                if found is None:
                    return
                try:
                    place.belongings.delete(found)
                except Conflict:
                    if attempt == ATTEMPTS - 1:
                        raise
                else:
                    self._outcome.deleted.append(found)
                    return
        except HealthError as error:
            self._outcome.failed[kind + place.of] = str(error)
