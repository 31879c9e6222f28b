import json
from dataclasses import asdict

from pydantic import TypeAdapter

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_retriever


def test_a_configuration_comes_back_from_its_fields(trie: SemanticIdTrie) -> None:
    for short_term, long_term in ((0, 0), (6, 0), (0, 3), (6, 3)):
        config = random_retriever(trie, short_term_width=short_term, long_term_width=long_term).config
        assert RetrieverConfig.from_fields(json.loads(json.dumps(asdict(config)))) == config
        assert config.part_widths == (config.width, short_term, long_term and long_term + 1)
        assert config.vector_width == sum(config.part_widths)


def test_fields_of_before_a_part_give_a_retriever_without_it(trie: SemanticIdTrie) -> None:
    fields = asdict(random_retriever(trie, short_term_width=0, long_term_width=0).config)
    del fields["short_term"], fields["long_term"]
    by_manifest = TypeAdapter(RetrieverConfig).validate_json(json.dumps(fields), strict=True)
    assert RetrieverConfig.from_fields(fields) == by_manifest
    assert by_manifest.short_term is None
    assert by_manifest.long_term is None
