import json

from benchmarks.outcomes.__main__ import CHANGED_RATES, RATES, SHARES, measure


def test_a_short_run_gives_the_worst_of_every_figure() -> None:
    figures = measure(runs=2)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    by_scenario = figures["by_scenario"]
    assert isinstance(by_scenario, dict)
    assert [len(one) for one in by_scenario.values() if isinstance(one, dict)] == [
        len(SHARES) * len(RATES),
        *3 * [len(SHARES) * len(CHANGED_RATES)],
    ]
    for name, worst in [
        ("aa_false_alarms", max),
        ("lift_found_share", min),
        ("lift_impressions_median", max),
        ("loss_rolled_back_share", min),
    ]:
        by_name = by_scenario[name]
        assert isinstance(by_name, dict)
        assert figures[name] == worst(by_name.values())
