"""What one replica knows: the state of the catalogue, each written item's last change, and the last applied event."""

from collections.abc import Iterable
from typing import NamedTuple

from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.log_view import LogHeader
from rqrec.service.replication.positions import Point
from rqrec.service.replication.stamped_entries import StampedEntry
from rqrec.service.replication.stamps import Stamps


class ReplicaState(NamedTuple):
    """What one replica knows about the catalogue.

    Attributes:
        snapshot: The state of the catalogue.
        stamps: For each item written or deleted since the model was published, the position of its last change.
        point: The last event of the change log that the snapshot contains.
    """

    snapshot: Snapshot
    stamps: Stamps
    point: Point

    def entries(self, item_ids: Iterable[str]) -> dict[str, StampedEntry]:
        """Returns the content of some written items, and the position of the last change of each, by item id."""
        entries = self.snapshot.entries
        return {item_id: StampedEntry(self.stamps.stamp(item_id), entries.get(item_id)) for item_id in item_ids}

    def all_entries(self) -> dict[str, StampedEntry]:
        """Returns the content of all written items, and the position of the last change of each, by item id.

        A deleted item has the content None.
        """
        return self.entries([item_id for item_id, _ in list(self.stamps.items())])

    def header(self) -> LogHeader:
        """Makes the header (the summary) of a change log that stores the content of all written items of this state.

        It says that these contents include all changes up to `ReplicaState.point`, and that the stream starts there.
        """
        epoch, position = self.point
        version = self.snapshot.catalogue_version
        return LogHeader(epoch, position, version, position, len(self.stamps), self.stamps.digest)
