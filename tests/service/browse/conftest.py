from tests.service.replication.conftest import published, tokenizer  # noqa: F401 - fixtures
