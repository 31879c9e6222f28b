from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from tests.text_encoders import with_text_encoder


def test_models_with_one_encoder_share_it(bundle: Bundle, tmp_path: Path) -> None:
    tokenizers = [ItemTokenizer(read_bundle(with_text_encoder(bundle, tmp_path / name))) for name in ("one", "other")]
    assert tokenizers[0].load_text_encoder() is tokenizers[1].load_text_encoder()


def test_a_bundle_without_an_encoder_says_why(bundle: Bundle) -> None:
    tokenizer = ItemTokenizer(bundle)
    items = pl.DataFrame({"title": ["Heat", None], "genres": [["Crime"], []]})
    with pytest.raises(NoTextEncoder, match="'lsa' can encode the texts of training only"):
        tokenizer.embed(items)
    assert tokenizer.embed(items[1:]) is None


def test_a_long_reason_is_cut(bundle: Bundle) -> None:
    manifest = replace(bundle.manifest, no_text_encoder="x" * 100_000)
    with pytest.raises(NoTextEncoder) as refused:
        ItemTokenizer(replace(bundle, manifest=manifest)).load_text_encoder()
    assert len(str(refused.value)) < 1000
