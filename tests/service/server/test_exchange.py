"""An answer that is complete before the request's body has arrived."""

import pytest

from tests.service.server.raw_sockets import GET_LAST, Running, ask, post

ROUNDS = 20
LARGE = b'"' + b"x" * 1_100_000 + b'"'


@pytest.mark.parametrize(("path", "status"), [("/recommend", 413), ("/nowhere", 404), ("/healthz", 405)])
def test_the_rest_of_a_refused_body_is_dropped_and_the_connection_goes_on(
    server: Running, path: str, status: int
) -> None:
    # How much of a body is in memory when its request is refused is left to chance, hence the rounds.
    codes, _ = ask(server, (post(LARGE, path) + post()) * ROUNDS + GET_LAST)
    assert codes == [status, 200] * ROUNDS + [200]
