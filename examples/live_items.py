"""Adds an item to a running service, recommends it, and deletes it again.

The service needs Redis, an admin token, and a bundle whose text encoder was exported, such as that of `make run`:

    RQREC_REDIS_URL=redis://localhost:6379/0 RQREC_ADMIN_TOKEN=secret rqrec serve
    RQREC_ADMIN_TOKEN=secret python examples/live_items.py --like 1
"""

import argparse
import os

from rqrec.client import Client

NEW_ITEM = "example-item"


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8000", help="address of the service")
    parser.add_argument("--like", required=True, help="id of an item whose attributes the new item gets")
    options = parser.parse_args()
    with Client(options.url, token=os.environ["RQREC_ADMIN_TOKEN"]) as client:
        attributes = client.item(options.like).payload
        written = client.put_item(NEW_ITEM, attributes)
        print(f"written: {written.item_id} with the semantic ID {'-'.join(map(str, written.semantic_id))}")
        print("recommended:", ", ".join(recommended(client, options.like)))
        client.delete_item(NEW_ITEM)
        print("after the deletion:", ", ".join(recommended(client, options.like)))


def recommended(client: Client, item_id: str) -> list[str]:
    """Returns the ids recommended after one item; at least one of them is an item that training did not know.

    Args:
        client: Client of the service.
        item_id: The only item of the history.
    """
    reply = client.recommend([item_id], k=10, new_item_share=0.1)
    return [item.item_id for item in reply.items]


if __name__ == "__main__":
    main()
