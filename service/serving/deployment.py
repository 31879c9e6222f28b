"""Which model answers which request."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from rqrec.service.serving.served_model import ServedModel

SHARES = 1 << 64


class Part(StrEnum):
    """What a model does."""

    ACTIVE = "active"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True)
class Roles:
    """Who does what, by version; the same on all replicas.

    Attributes:
        active: Answers, unless a canary does.
        trial: Is tried beside it; None for nobody.
        part: CANARY: answers a part of the requests in the active one's place; SHADOW: is asked about them as well, and
            nobody sees what it answers.
        percent: Of the request keys, that go to the trial.
        revision: How often roles were given, on any replica; of two different roles the one with the higher holds.
    """

    active: str
    trial: str | None = None
    part: Part = Part.ACTIVE
    percent: float = 0.0
    revision: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return (
            self.active if self.trial is None else f"{self.active}, {self.trial} as {self.part} to {self.percent:g} %"
        )

    @property
    def versions(self) -> list[str]:
        """All of them, the active one first."""
        return [self.active] if self.trial is None else [self.active, self.trial]

    def with_part(self, version: str, part: Part, percent: float) -> "Roles":
        """These roles once a version has taken up a part; whoever becomes active ends the trial."""
        revision = self.revision + 1
        if part is Part.ACTIVE or version == self.active:
            return Roles(version, revision=revision)
        return Roles(self.active, version, part, percent, revision)

    def to_json(self) -> str:
        """For Redis; `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Roles":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is something else.
        """
        try:
            fields = json.loads(text)
            trial = None if fields["trial"] is None else str(fields["trial"])
            revision = int(fields.get("revision", 0))
            return cls(str(fields["active"]), trial, Part(fields["part"]), float(fields["percent"]), revision)
        except (TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"not roles as this software writes them: {error}") from error


@dataclass(frozen=True, eq=False)
class LineUp:
    """The loaded models in their roles.

    Attributes:
        roles: By version.
        active: Answers.
        trial: Is tried beside it, if one is.
    """

    roles: Roles
    active: ServedModel
    trial: ServedModel | None = None

    @property
    def models(self) -> list[ServedModel]:
        """All of them, the active one first."""
        return [self.active] if self.trial is None else [self.active, self.trial]

    def answering(self, key: str) -> tuple[Part, ServedModel]:
        """Who answers requests of a key."""
        if self.trial is not None and self.roles.part is Part.CANARY and self._is_tried(key):
            return Part.CANARY, self.trial
        return Part.ACTIVE, self.active

    def shadow(self, key: str) -> ServedModel | None:
        """Who is asked as well."""
        return self.trial if self.roles.part is Part.SHADOW and self._is_tried(key) else None

    def _is_tried(self, key: str) -> bool:
        # With the version in the hash, no user is in every trial.
        digest = hashlib.blake2b(f"{self.roles.trial}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) < self.roles.percent / 100 * SHARES
