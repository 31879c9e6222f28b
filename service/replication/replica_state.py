"""The knowledge of one replica: the state of the catalogue, the stamps of written items, and the point in the log."""

from collections.abc import Iterable
from typing import NamedTuple

from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.log_view import LogHeader
from rqrec.service.replication.positions import Point
from rqrec.service.replication.stamped_entries import StampedEntry
from rqrec.service.replication.stamps import Stamps


class ReplicaState(NamedTuple):
    """The knowledge of one replica about the catalogue.

    Attributes:
        snapshot: The state of the catalogue.
        stamps: The stamps of all items written since the bundle was published.
        point: The point in the change log up to which the snapshot holds all changes.
    """

    snapshot: Snapshot
    stamps: Stamps
    point: Point

    def entries(self, item_ids: Iterable[str]) -> dict[str, StampedEntry]:
        """Returns the entries of some written items, by item id."""
        entries = self.snapshot.entries
        return {item_id: StampedEntry(self.stamps.stamp(item_id), entries.get(item_id)) for item_id in item_ids}

    def all_entries(self) -> dict[str, StampedEntry]:
        """The entries of all written items, by item id."""
        return self.entries([item_id for item_id, _ in list(self.stamps.items())])

    def header(self) -> LogHeader:
        """The header of a new change log: its entries are those of this state, and its stream starts at `point`."""
        epoch, position = self.point
        version = self.snapshot.catalogue_version
        return LogHeader(epoch, position, version, position, len(self.stamps), self.stamps.digest)
