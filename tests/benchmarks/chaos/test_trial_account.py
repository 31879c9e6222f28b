from benchmarks.chaos.trial_account import Bounds, TrialAccount, counted_of


def test_a_list_and_its_click_count_once() -> None:
    account = TrialAccount()
    with account.asking() as asked:
        assert account.most() == Bounds(1, 0, 0)
        asked.answered("r")
    account.sent["clicks"].add("r")
    assert (account.least(), account.most()) == (Bounds(1, 0, 0), Bounds(1, 1, 0))
    account.acknowledged["clicks"].add("r")
    assert account.least() == Bounds(1, 1, 0)


def test_lists_before_a_change_do_not_count_and_those_during_it_may() -> None:
    account = TrialAccount()
    with account.asking() as asked:
        asked.answered("before")
    with account.asking() as asked:
        with account.changing(), account.asking() as inner:
            inner.answered("during")
        asked.answered("around")
    with account.asking() as asked:
        asked.answered("after")
    assert (account.certain, account.possible) == ({"after"}, {"during", "around"})
    assert (account.least(), account.most()) == (Bounds(1, 0, 0), Bounds(3, 0, 0))


def test_a_count_outside_of_the_bounds_exceeds_them() -> None:
    counted = counted_of({"impressions": 5, "clicks": {"count": 2}, "conversions": {"count": 0}})
    assert counted.exceeds(Bounds(5, 1, 0))
    assert not counted.exceeds(Bounds(5, 2, 0))
