from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.serving.recommending.weights import explanation_weight


def test_an_explanation_weighs_as_many_searches_as_it_runs() -> None:
    asked = RecommendRequest(history=["1", "2", "3"], k=10, explain=True)
    assert explanation_weight(asked, 50, max_history=20) == 4
    assert explanation_weight(asked, 50, max_history=2) == 3
    assert explanation_weight(asked.model_copy(update={"k": 100}), 50, max_history=20) == 8
    assert explanation_weight(asked.model_copy(update={"user_id": "42"}), 50, max_history=20) == 21
    assert explanation_weight(asked.model_copy(update={"explain": False}), 50, max_history=20) == 0
