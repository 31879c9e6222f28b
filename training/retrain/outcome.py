"""How a retraining ended: its exit status, and its metrics for the textfile collector of Prometheus' node_exporter."""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rqrec.models.errors import naming
from rqrec.training.retrain.asking.judge import Verdict


class Ending(Enum):
    """How a retraining ended. The value is the exit status of the command.

    PUBLISHED: The retrained model is published.
    NOTHING_NEW: There are no new interactions, and nothing is published.
    WORSE: The retrained model is worse than the one of the bundle, and is not published.
    FULL_TRAINING_DUE: The retrained model is published, but the semantic IDs fit the catalogue no longer.
    SUPERSEDED: The retrained model is published, but `current` stays, because it was set meanwhile.
    NO_ROOM: The retrained model is not published, because a new item cannot get a semantic ID of its own.
    """

    PUBLISHED = ("published", 0)
    NOTHING_NEW = ("nothing_new", 0)
    WORSE = ("worse", 3)
    FULL_TRAINING_DUE = ("full_training_due", 4)
    NO_ROOM = ("no_room", 4)
    SUPERSEDED = ("superseded", 5)

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        return self.value[1]


@dataclass(frozen=True)
class Outcome:
    """What is reported of a retraining.

    Attributes:
        ending: How it ended.
        ended_at_s: When it ended, in seconds since 1970.
        seconds: How long it took.
        new_interactions: Number of new interactions.
        verdict: What the judge found; None if it was not asked.
    """

    ending: Ending
    ended_at_s: float
    seconds: float
    new_interactions: int
    verdict: Verdict | None = None

    @property
    def metrics(self) -> str:
        """The metrics in Prometheus' text format."""
        lines = [
            *_metric("timestamp_seconds", "When the last retraining ended.", [("", self.ended_at_s)]),
            *_metric("duration_seconds", "How long the last retraining took.", [("", self.seconds)]),
            *_metric("new_interactions", "New interactions of the last retraining.", [("", self.new_interactions)]),
            *_metric(
                "ending",
                "How the last retraining ended: 1 for this ending, else 0.",
                [(f'{{ending="{one.value[0]}"}}', float(one is self.ending)) for one in Ending],
            ),
        ]
        if self.verdict is not None:
            values = [('{model="before"}', self.verdict.before), ('{model="retrained"}', self.verdict.after)]
            lines += _metric("ndcg", "NDCG@10 of both models on the latest interactions.", values)
        return "".join(f"{line}\n" for line in lines)

    def write(self, path: Path) -> None:
        """Writes the metrics to a file by one rename, so that the collector never reads half of it.

        Args:
            path: The file, whose name must end in `.prom`.

        Raises:
            NotWritten: If the disk is full, or this user may not write there.
        """
        with naming(path.parent):
            staged = path.with_name(f".{path.name}-{os.getpid()}")
            staged.write_text(self.metrics, encoding="utf-8")
            staged.replace(path)


def _metric(name: str, meaning: str, values: list[tuple[str, float]]) -> list[str]:
    full = f"rqrec_retraining_{name}"
    return [f"# HELP {full} {meaning}", f"# TYPE {full} gauge", *(f"{full}{label} {value}" for label, value in values)]
