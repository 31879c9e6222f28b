"""Canary and shadow models."""

from collections import Counter

import pytest
from fastapi.testclient import TestClient

from rqrec.service.serving.deployment import Role, Rollout
from tests.service.conftest import until
from tests.service.serving.three_models import activate, ask, samples


def test_a_canary_answers_its_share_and_a_key_always_gets_the_same_model(admin_client: TestClient) -> None:
    assert activate(admin_client, "second", part="canary", percent=30) == {
        "first": "active",
        "second": "canary",
        "third": None,
    }
    chosen = {
        f"user {number}": ask(admin_client, routing_key=f"user {number}")["model_version"] for number in range(200)
    }
    assert 35 <= Counter(chosen.values())["second"] <= 85  # 60 expected, plus or minus four standard deviations
    assert all(
        ask(admin_client, routing_key=key)["model_version"] == version for key, version in list(chosen.items())[:50]
    )
    answers = samples(admin_client, "rqrec_model_answers_total")
    assert sum(answers.values()) == 250
    assert activate(admin_client, "second", part="canary", percent=60)["second"] == "canary"
    wider = {key for key in chosen if ask(admin_client, routing_key=key)["model_version"] == "second"}
    assert wider > {key for key, version in chosen.items() if version == "second"}
    assert activate(admin_client, "first") == {"first": "active", "second": None, "third": None}


def test_another_candidate_gets_other_users(admin_client: TestClient) -> None:
    def tried(version: str) -> set[int]:
        activate(admin_client, version, part="canary", percent=50)
        return {n for n in range(60) if ask(admin_client, routing_key=str(n))["model_version"] == version}

    assert tried("second") != tried("third")


def test_a_shadow_is_measured_and_never_seen(admin_client: TestClient) -> None:
    activate(admin_client, "second", part="shadow")
    for _ in range(10):
        assert ask(admin_client)["model_version"] == "first"
    until(lambda: samples(admin_client, 'rqrec_shadow_answers_total{result="answered"}').popitem()[1] == 10)
    overlap = samples(admin_client, "rqrec_shadow_overlap_ratio")
    assert overlap["rqrec_shadow_overlap_ratio_sum"] == overlap["rqrec_shadow_overlap_ratio_count"] == 10


def test_a_request_can_name_a_loaded_model_whatever_its_role(admin_client: TestClient) -> None:
    for part in ("canary", "shadow"):
        activate(admin_client, "second", part=part, percent=1)
        assert admin_client.get("/readyz").json()["models"] == {"active": "first", part: "second"}
        for version in ("first", "second"):  # the routing key has no effect
            assert {
                ask(admin_client, model_version=version, routing_key=str(n))["model_version"] for n in range(20)
            } == {version}
    refused = admin_client.post("/recommend", json={"history": [], "model_version": "third"})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {
            "pointer": "/model_version",
            "detail": "expected the version of a loaded model, 'first' (active) or 'second' (shadow), got 'third'",
        }
    ]


def test_a_list_of_a_named_model_starts_no_shadow_search(admin_client: TestClient) -> None:
    activate(admin_client, "second", part="shadow")
    ask(admin_client, model_version="first")
    ask(admin_client)
    until(lambda: sum(samples(admin_client, "rqrec_shadow_answers_total").values()) == 1)


def test_roles_pass_through_redis() -> None:
    roles = Rollout("first").with_role("second", Role.CANARY, 5.0)
    assert Rollout.from_json(roles.to_json()) == roles
    assert roles.with_role("second", Role.ACTIVE, 100.0) == Rollout("second")


@pytest.mark.parametrize("part", ["canary", "shadow"])
def test_the_active_model_cannot_be_its_own_candidate(admin_client: TestClient, part: str) -> None:
    activate(admin_client, "second", part="canary", percent=30)
    refused = admin_client.post("/models/first/activate", json={"part": part, "percent": 5})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/part"
    assert "'first' is the active model" in refused.json()["detail"]
    assert {one["version"]: one["part"] for one in admin_client.get("/models").json()["models"]}["second"] == "canary"


def test_roles_that_change_nothing_keep_the_revision_so_that_the_trial_goes_on() -> None:
    first = Rollout("first").with_role("first", Role.ACTIVE, 100.0)  # now somebody has chosen it
    assert first.revision > 0
    assert first.with_role("first", Role.ACTIVE, 100.0).revision == first.revision
    canary = first.with_role("second", Role.CANARY, 5.0)
    assert canary.with_role("second", Role.CANARY, 5.0).revision == canary.revision
    changed = [canary.with_role("second", role, percent) for role, percent in ((Role.CANARY, 6.0), (Role.SHADOW, 5.0))]
    changed += [canary.with_role("first", Role.ACTIVE, 100.0)]
    assert all(one.revision > canary.revision for one in changed)
