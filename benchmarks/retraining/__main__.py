"""Plays the events of MovieLens-100K in time: retrained every slice, beside no retraining and full trainings.

    python -m benchmarks.retraining

The interactions are cut into 30 slices by time. A model is trained on the first 15. After each later slice it is
retrained, by the command `rqrec retrain`, from the bundle of the retraining before. Then every model is asked about
each interaction of the next slice, with live histories: what does the user choose next? Every few slices, a model is
trained fully on all slices until then, by the command `rqrec train`. An item is in the catalogue from the slice on in
which it is first chosen; interactions with later items are not asked about.

Times are seconds of processor time of the whole command, because other programs use this machine too. The last line is
JSON: NDCG@10 over all interactions, of the retrained model over that of a full training (on the slices that have one)
and over that of the first model, with 95 % intervals over users; the processor time of a retraining over that of a full
training; and the share of the items that keep their semantic ID. What is done is kept in the work directory, so an
interrupted run goes on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.retraining.asking import Answers, share_of_kept_ids
from benchmarks.retraining.models import FROZEN, FULL, RETRAINED, Models
from benchmarks.retraining.slices import Slices
from benchmarks.support.machine import description
from rqrec.training.runtime.progress import command_progress, set_up_output

SLICES, FIRST = 30, 15
RESAMPLES = 2000


def simulate(models: Models, *, first: int, end: int, full_every: int) -> dict[str, list[Answers]]:
    """Asks every model about every slice, and prints a line for each.

    Args:
        models: Trains the models.
        first: The slice after those of the first training.
        end: The slice after the last one.
        full_every: Number of slices between two full trainings; 0 for none.

    Returns:
        The answers by model. Those of full trainings, and of the retrained model on the same slices, are also under the
        names "full" and "retrained_beside_full".
    """
    answers: dict[str, list[Answers]] = {FROZEN: [], RETRAINED: [], FULL: [], f"{RETRAINED}_beside_{FULL}": []}
    for known in range(first + 1, end):
        retrained = models.retrained(known)
        asked = {FROZEN: (models.base, retrained), RETRAINED: (retrained, retrained)}
        if full_every and (known - first) % full_every == 0:
            asked[FULL] = models.full(known), models.full(known)
        found = {name: models.answers(name, known, *pair) for name, pair in asked.items()}
        for name, one in found.items():
            answers[name].append(one)
        if FULL in found:
            answers[f"{RETRAINED}_beside_{FULL}"].append(found[RETRAINED])
        means = ", ".join(f"{name} {one.ndcg_Q.mean():.4f}" for name, one in found.items())
        print(f"slice {known}: {len(found[FROZEN].ndcg_Q)} asked, NDCG@10: {means}", flush=True)
    return answers


def ratio(above: Sequence[Answers], below: Sequence[Answers]) -> dict[str, float] | None:
    """Returns the mean NDCG@10 of one model over that of another, with a 95 % interval by the bootstrap over users.

    Models order the interactions of one second differently, by their own numbers of the items. So a few test cases
    have another target, and of some users a model is asked one case more.

    Args:
        above: The answers of one model, by slice.
        below: The answers of the other one, about the same slices.
    """
    if not above:
        return None
    users = np.unique(np.concatenate([one.user_Q for one in (*above, *below)]))
    sums = [_by_user(many, users) for many in (above, below)]
    draws = np.random.default_rng(0).integers(0, len(users), (RESAMPLES, len(users)))
    means = [cases_U2[draws].sum(axis=1) for cases_U2 in sums]
    drawn = [mean[:, 0] / mean[:, 1] for mean in means]
    low, high = np.percentile(drawn[0] / drawn[1], [2.5, 97.5])
    overall = [ndcg / count for ndcg, count in (cases_U2.sum(axis=0) for cases_U2 in sums)]
    return {"ratio": round(overall[0] / overall[1], 4), "low": round(low, 4), "high": round(high, 4)}


def _by_user(answers: Sequence[Answers], users: NDArray[np.str_]) -> NDArray[np.float64]:
    """The sum of NDCG@10 and the number of test cases of each user, shape (U, 2)."""
    rows = np.searchsorted(users, np.concatenate([one.user_Q for one in answers]))
    ndcg_Q = np.concatenate([one.ndcg_Q for one in answers])
    weights = (ndcg_Q, np.ones_like(ndcg_Q))
    return np.stack([np.bincount(rows, weights=one, minlength=len(users)) for one in weights], axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the simulation, and prints its result as JSON.

    Args:
        arguments: The arguments of the command; None for those of this process.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--first", type=int, default=FIRST, help="slices of the first training (default: %(default)s)")
    parser.add_argument("--end", type=int, help="the slice after the last one that is asked about (default: all)")
    parser.add_argument("--full-every", type=int, default=5, help="slices between full trainings; 0 for none")
    parser.add_argument("--work-dir", type=Path, default=Path("artifacts/retraining"))
    parser.add_argument("--data-dir", type=Path, default=Path("artifacts/data"))
    parser.add_argument("--set", action="append", default=[], help="a gin binding of the full trainings")
    parser.add_argument("--retrain-set", action="append", default=[], help="a gin binding of the retrainings")
    options = parser.parse_args(arguments)
    set_up_output()
    print(description(), file=sys.stderr)
    slices = Slices(options.dataset, options.data_dir, options.slices)
    models = Models(slices, options.work_dir, options.data_dir, options.first, options.set, options.retrain_set)
    end = options.end or options.slices
    with command_progress("retraining"):
        answers = simulate(models, first=options.first, end=end, full_every=options.full_every)
    seconds = {name: models.mean_seconds(name) for name in (FULL, RETRAINED)}
    beside = answers[f"{RETRAINED}_beside_{FULL}"]
    result = {
        "retrained_over_full": ratio(beside, answers[FULL]),
        "retrained_over_frozen": ratio(answers[RETRAINED], answers[FROZEN]),
        "ndcg@10": {
            name: round(float(np.concatenate([one.ndcg_Q for one in many]).mean()), 4)
            for name, many in answers.items()
            if many
        },
        "recall@10": {
            name: round(float(np.concatenate([one.recall_Q for one in many]).mean()), 4)
            for name, many in answers.items()
            if many
        },
        "processor_seconds": seconds,
        "retrain_share": round(seconds[RETRAINED] / seconds[FULL], 4),
        "id_stability": share_of_kept_ids(models.base, models.retrained(end - 1)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
