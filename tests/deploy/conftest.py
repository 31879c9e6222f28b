from tests.service.conftest import served  # noqa: F401 - a fixture
