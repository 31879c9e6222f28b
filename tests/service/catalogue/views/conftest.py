import pytest

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes
from rqrec.service.catalogue.changes import Change, Delete
from rqrec.service.catalogue.snapshot import Snapshot
from tests.service.replication.conftest import published, tokenizer  # noqa: F401 - fixtures
from tests.service.replication.replicas import put


@pytest.fixture
def written(published: Snapshot, tokenizer: ItemTokenizer) -> Snapshot:  # noqa: F811
    """The catalogue after writes: 100 has another content and place, `new` is added, 101 and `gone` are deleted."""
    changes: list[Change] = [
        put("100", 7, published, tokenizer),
        put("new", 1, published, tokenizer),
        put("gone", 0, published, tokenizer),
        Delete("gone"),
        Delete("101"),
    ]
    return apply_changes(published, changes, tokenizer, catalogue_version=5)[0]
