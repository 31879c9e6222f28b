from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.serving.recommending.weights import explanation_weight


def test_an_explanation_weighs_more_with_the_history_and_the_length_of_the_list() -> None:
    asked = RecommendRequest(history=[str(number) for number in range(10)], explain=True)
    assert explanation_weight(asked, max_history=20) == 3
    assert explanation_weight(asked, max_history=4) == 1
    assert explanation_weight(asked.model_copy(update={"k": 100}), max_history=20) == 7
    assert explanation_weight(asked.model_copy(update={"user_id": "42"}), max_history=20) == 6
    assert explanation_weight(asked.model_copy(update={"explain": False}), max_history=20) == 0


def test_an_explanation_weighs_what_its_largest_part_costs() -> None:
    asked = RecommendRequest(history=[str(number) for number in range(1000)], explain=True)
    assert explanation_weight(asked, max_history=100) == 12
    assert explanation_weight(asked.model_copy(update={"k": 100}), max_history=100) == 20
