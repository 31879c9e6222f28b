from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.tokenizer.featurizer import TEXT
from tests.service.serving.three_models import service


@pytest.fixture
def admin_client(three_bundles: Path) -> Iterator[TestClient]:
    """A service with three bundles, of which `first` is current; sends the admin token."""
    with service(three_bundles) as client:
        yield client


@pytest.fixture(scope="module")
def film(bundle: Bundle) -> dict[str, Any]:
    block = ItemTokenizer(bundle).featurizer.given_block(TEXT)
    assert block is not None
    attributes = {"title": "Horror 900 (1985)", "genres": ["Horror"], "year": 1985}
    return {"attributes": attributes, "text_vector": list(np.linspace(-1, 1, block.width))}
