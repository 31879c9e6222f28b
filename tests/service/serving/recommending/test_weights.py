from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.serving.recommending.weights import explanation_weight


def test_an_explanation_weighs_more_with_the_history_and_the_length_of_the_list() -> None:
    asked = RecommendRequest(history=[str(number) for number in range(10)], explain=True)
    assert explanation_weight(asked, 50, max_history=20) == 2
    assert explanation_weight(asked, 50, max_history=4) == 1
    assert explanation_weight(asked.model_copy(update={"k": 100}), 50, max_history=20) == 4
    assert explanation_weight(asked.model_copy(update={"user_id": "42"}), 50, max_history=20) == 5
    assert explanation_weight(asked.model_copy(update={"user_id": "42"}), 50, max_history=100) == 48  # 111 ms beside 10
    assert explanation_weight(asked.model_copy(update={"explain": False}), 50, max_history=20) == 0
