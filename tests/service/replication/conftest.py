from typing import Any

import numpy as np
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.composition import load_options
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for


@pytest.fixture(scope="module")
def published(bundle: Bundle) -> Snapshot:
    return load_snapshot(bundle, load_options(settings_for(bundle.path)), Metrics())


@pytest.fixture(scope="module")
def tokenizer(bundle: Bundle) -> ItemTokenizer:
    return ItemTokenizer(bundle)


@pytest.fixture(scope="module")
def film(bundle: Bundle) -> dict[str, Any]:
    attributes = {"title": "Horror 900 (1985)", "genres": ["Horror"], "year": 1985}
    return {"attributes": attributes, "text_vector": list(np.linspace(-1, 1, ItemTokenizer(bundle).text_width))}


@pytest.fixture
def prefix(bundle: Bundle) -> str:
    return f"rqrec:{{{bundle.manifest.version}}}"
