"""The first section: what was trained on what, and what stands out."""

from collections.abc import Mapping, Sequence

import numpy as np

from rqrec.training.evaluation.comparison import compare_with_best_baseline
from rqrec.training.report.material import Material
from rqrec.training.report.section import Figure, Section
from rqrec.training.report.sections.losses import MEASURED, NAMES, SCORE, steps_of_replacements
from rqrec.training.report.tables import Cell, table
from rqrec.training.runtime.curves import Curve

MANY_COLLISIONS, FEW_CODES, LITTLE_LIFT, ONE_CODE = 0.5, 0.5, 1.5, 0.5
GOOD, BAD = "good", "look here"
TONES = {GOOD: "praise", BAD: "warning"}


def overview(material: Material) -> Section:
    """Returns the section with the key figures and with what stands out."""
    dataset, config = material.dataset, material.rqvae.config
    facts = [
        ("data set", dataset.name),
        ("items", f"{len(dataset.items):,}"),
        ("users", f"{dataset.num_users:,}"),
        ("interactions", f"{len(dataset.interactions):,}"),
        ("semantic ID", f"{config.num_levels} levels of {config.codebook_size} codes and a collision code"),
        ("features", ", ".join(f"{block.name} ({block.width})" for block in config.blocks)),
    ]
    findings = [*_of_ids(material), *_of_trainings(material), *_of_accuracy(material)]
    figures = [
        Figure(
            "What stands out",
            table(
                ["", "finding"],
                [
                    [Cell(kind, is_number=False, tone=TONES[kind]), Cell(text, is_number=False)]
                    for kind, text in findings
                ],
            ),
            "Simple rules looked at the figures below. They name the usual faults only.",
            f"A line that begins with “{BAD}”.",
        ),
        Figure(
            "What was trained",
            table(["", ""], [[Cell(name, is_number=False), Cell(value, is_number=False)] for name, value in facts]),
            "The width of each block of features, in columns, stands in brackets.",
            "A number that you did not expect: see what was dropped, in the notes of this section.",
        ),
    ]
    if material.changes:
        figures.insert(0, _changes(material.changes))
    return Section("Overview", "", figures, material.decisions)


def _changes(changes: Sequence[str]) -> Figure:
    rows = [[Cell(f"{number}", is_number=False), Cell(text, is_number=False)] for number, text in enumerate(changes, 1)]
    return Figure(
        "What the retraining changed",
        table(["", "change"], rows),
        "A retraining keeps the tokenizer, and teaches the networks the new interactions beside a replay of old ones.",
        "A retrained model that is worse on the latest interactions, or a figure of the gate beyond its limit.",
        is_wide=True,
    )


Finding = tuple[str, str]


def _of_ids(material: Material) -> Sequence[Finding]:
    figures, size = material.ids.figures, material.ids.codebook_size
    collisions, chance = figures.get("collision_ratio", 0.0), figures.get("together_by_chance_0", 0.0)
    findings = [
        _judged(
            collisions <= MANY_COLLISIONS,
            f"{collisions:.0%} of the items have the same codes as another item before the collision code.",
        )
    ]
    if "perplexity_0" in figures:
        share = figures["perplexity_0"] / size
        findings.append(
            _judged(
                share >= FEW_CODES,
                f"The first codes are used as evenly as {figures['perplexity_0']:.0f} of {size} equally frequent ones.",
            )
        )
    for level in range(1, material.rqvae.config.num_levels):
        share = float(np.bincount(material.ids.codes_NL[:, level]).max() / len(material.ids.codes_NL))
        if share > ONE_CODE:
            text = (
                f"The commonest code of level {level + 1} has {share:.0%} of the items, so this level tells few apart."
            )
            findings.append((BAD, text))
    if chance:
        lift = figures["together_0"] / chance
        findings.append(
            _judged(
                lift >= LITTLE_LIFT, f"Consecutive items share the first code {lift:.1f} times as often as by chance."
            )
        )
    return findings


def _of_trainings(material: Material) -> Sequence[Finding]:
    findings = of_rqvae(material.curves.get("rqvae", {}))
    for name, curves in material.curves.items():
        if SCORE not in curves or len(curves[SCORE].values_S) < 2:
            continue
        scores_S, shown = curves[SCORE].values_S, NAMES.get(name, name)
        best = int(scores_S.argmax())
        if best == len(scores_S) - 1:
            findings.append((BAD, f"The validation of the {shown} was best at its end: more epochs may help."))
        elif best == 0:
            findings.append(
                (BAD, f"The validation of the {shown} was best at its first point: lower its learning rate.")
            )
        else:
            findings.append(
                (GOOD, f"The validation of the {shown} went through its best point ({scores_S[best]:.4f}).")
            )
    return findings


def of_rqvae(curves: Mapping[str, Curve]) -> list[Finding]:
    """Compares the loss of the RQ-VAE at its end with that at its start, and names the cause of a jump.

    Args:
        curves: The curves of the RQ-VAE's training, by name; empty if there are none.
    """
    if MEASURED not in curves:
        return []
    curve = curves[MEASURED]
    start, end = float(curve.values_S[0]), float(curve.values_S[-1])
    text = f"The loss of the RQ-VAE without noise went from {start:.3f} to {end:.3f}"
    if end <= start:
        return [(GOOD, f"{text}.")]
    rises_S = np.diff(curve.values_S, prepend=start)
    worst = int(curve.steps_S[rises_S.argmax()])
    advice = "lower RqVaeSettings.learning_rate"
    if worst in steps_of_replacements(curves):
        text += f". It rose most at step {worst:,}, where dead codes were replaced"
        advice += (
            ", so that the encoder stays near the codes, or replace none: RqVaeSettings.dead_code_every_steps = "
            "RqVaeSettings.steps"
        )
    return [(BAD, f"{text}: {advice}.")]


def _of_accuracy(material: Material) -> Sequence[Finding]:
    compared = compare_with_best_baseline(material.details)
    return [] if compared is None else [_judged(compared.is_better, compared.sentence())]


def _judged(is_good: bool, text: str) -> Finding:
    return (GOOD if is_good else BAD, text)
