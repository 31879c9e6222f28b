import json
from dataclasses import asdict

from pydantic import TypeAdapter

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_retriever


def test_a_configuration_comes_back_from_its_fields(trie: SemanticIdTrie) -> None:
    for width in (0, 6):
        config = random_retriever(trie, short_term_width=width).config
        assert RetrieverConfig.from_fields(json.loads(json.dumps(asdict(config)))) == config
        assert config.vector_width == config.width + width


def test_fields_of_before_the_short_term_encoder_give_a_retriever_without_one(trie: SemanticIdTrie) -> None:
    fields = asdict(random_retriever(trie, short_term_width=0).config)
    del fields["short_term"]
    by_manifest = TypeAdapter(RetrieverConfig).validate_json(json.dumps(fields), strict=True)
    assert RetrieverConfig.from_fields(fields) == by_manifest
    assert by_manifest.short_term is None
