"""The Python client of the service.

    from rqrec.client import Client

    with Client("http://localhost:8000") as client:
        for item in client.recommend(["1", "71", "588"], k=5).items:
            print(item.rank, item.item_id, item.payload["title"])

A history is a list of item ids. To say also what the user did with an item, such as a purchase, and when, give
`HistoryEntry(item_id="1", type="purchase", at=datetime.now(UTC))` instead of its id.

The service also stores what users do, and recommends by user:

    client.send_events([{"user_id": "42", "item_id": "588", "type": "view"}])
    client.recommend(user_id="42")

`AsyncClient` has the same methods, which are awaited. Replies are pydantic models of `rqrec.service.contract`.
"""

from rqrec.client.call import InvalidArgument, ProblemError, ServiceUnreachable, UnexpectedReply
from rqrec.client.clients import AsyncClient, Client
from rqrec.service.contract.events import UserEvent
from rqrec.service.contract.list_control import Boost, Pin
from rqrec.service.contract.recommend import HistoryEntry

__all__ = [
    "AsyncClient",
    "Boost",
    "Client",
    "HistoryEntry",
    "InvalidArgument",
    "Pin",
    "ProblemError",
    "ServiceUnreachable",
    "UnexpectedReply",
    "UserEvent",
]
