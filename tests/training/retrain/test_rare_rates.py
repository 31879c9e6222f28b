import numpy as np

from rqrec.models.bundle.bundle import Bundle
from rqrec.training.retrain.grown_model import OWN, PREFIXES, bundle_retriever
from rqrec.training.retrain.rare_rates import COMMON, item_rates, retriever_rates


def test_an_item_learns_the_faster_the_less_was_learnt_of_it(bundle: Bundle) -> None:
    learnt_R = bundle.learned.popularity_R
    rates_N = item_rates(bundle, len(learnt_R) + 2, most=5)
    assert rates_N[-2:].tolist() == [5, 5]  # new items
    by_count = rates_N[: len(learnt_R)][np.argsort(learnt_R)]
    assert (np.diff(by_count) <= 0).all()
    assert (rates_N[: len(learnt_R)][learnt_R + 1 >= COMMON] == 1).all()
    assert (item_rates(bundle, len(learnt_R), most=1) == 1).all()


def test_the_retriever_has_a_rate_for_every_row(bundle: Bundle) -> None:
    rates = retriever_rates(bundle, bundle.learned.trie, most=5)
    model = bundle_retriever(bundle)
    assert set(rates) == {OWN, PREFIXES} & {name for name, _ in model.named_parameters()}
    for name, rates_P in rates.items():
        assert len(rates_P) == len(model.get_parameter(name))
        assert rates_P.min() >= 1
        assert rates_P.max() <= 5
