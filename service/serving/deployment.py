"""The deployment: the models of a replica in their roles, and the choice of the model for a request."""

import hashlib
import json
import time
from dataclasses import dataclass, field
from enum import StrEnum

from rqrec.service.errors import InvalidPart
from rqrec.service.serving.served_model import ServedModel

SHARES = 1 << 64


class Role(StrEnum):
    """The role of a loaded model.

    ACTIVE answers requests. CANARY answers a share of them. SHADOW gets a copy of a share, and is only measured.
    """

    ACTIVE = "active"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True)
class Rollout:
    """The role of every model, by version; the same on all replicas.

    Attributes:
        active: Version of the model that answers, unless a canary does.
        candidate: Version of the canary or shadow; None if there is none.
        role: Role of the candidate, CANARY or SHADOW; ACTIVE if there is no candidate.
        percent: Share of the routing keys that go to the candidate, in [0, 100].
        revision: Number of changes by any replica; of two rollouts, the one with the higher revision is valid.
    """

    active: str
    candidate: str | None = None
    role: Role = Role.ACTIVE
    percent: float = 0.0
    revision: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return (
            self.active
            if self.candidate is None
            else f"{self.active}, {self.candidate} as {self.role} to {self.percent:g} %"
        )

    @property
    def versions(self) -> list[str]:
        """All versions, the active one first."""
        return [self.active] if self.candidate is None else [self.active, self.candidate]

    def with_role(self, version: str, role: Role, percent: float, *, known_revision: int = 0) -> "Rollout":
        """The rollout after a model takes a role. A new active model removes the candidate.

        Its revision is later than all that any replica has stored before, also those that Redis has lost.

        Args:
            version: Version of the model.
            role: Its new role.
            percent: Share of the routing keys that go to a candidate, in [0, 100].
            known_revision: The latest revision that the caller knows.

        Raises:
            InvalidPart: If the active model is to be a candidate.
        """
        revision = max(known_revision + 1, self.revision + 1, round(1000 * time.time()))
        if role is Role.ACTIVE:
            return Rollout(version, revision=revision)
        if version == self.active:
            raise InvalidPart(
                ("part",), f"{version!r} is the active model and no {role}: expected another version of GET /models"
            )
        return Rollout(self.active, version, role, percent, revision)

    def to_json(self) -> str:
        """The rollout as JSON, as replicas share it. Its fields `trial` and `part` are the candidate and its role."""
        fields = {"active": self.active, "trial": self.candidate, "part": self.role}
        return json.dumps({**fields, "percent": self.percent, "revision": self.revision})

    @classmethod
    def from_json(cls, text: str) -> "Rollout":
        """Reads the JSON of `to_json`.

        Args:
            text: The JSON.

        Raises:
            ValueError: If the text is anything else.
        """
        try:
            fields = json.loads(text)
            candidate = None if fields["trial"] is None else str(fields["trial"])
            revision = int(fields.get("revision", 0))
            return cls(str(fields["active"]), candidate, Role(fields["part"]), float(fields["percent"]), revision)
        except (TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"expected a rollout as JSON, got another text: {error}") from error


@dataclass(frozen=True, eq=False)
class Deployment:
    """The loaded models in their roles.

    Attributes:
        rollout: The role of every version.
        active: The active model.
        candidate: The canary or shadow; None if there is none.
    """

    rollout: Rollout
    active: ServedModel
    candidate: ServedModel | None = None

    @property
    def models(self) -> list[ServedModel]:
        """All models, the active one first."""
        return [self.active] if self.candidate is None else [self.active, self.candidate]

    def answering(self, key: str) -> tuple[Role, ServedModel]:
        """The model that answers requests with a routing key, and its role."""
        if self.candidate is not None and self.rollout.role is Role.CANARY and self._goes_to_candidate(key):
            return Role.CANARY, self.candidate
        return Role.ACTIVE, self.active

    def shadow(self, key: str) -> ServedModel | None:
        """The model that gets a copy of the requests with a routing key; None if there is none."""
        return self.candidate if self.rollout.role is Role.SHADOW and self._goes_to_candidate(key) else None

    def _goes_to_candidate(self, key: str) -> bool:
        # The hash includes the version, so that each candidate gets other users.
        digest = hashlib.blake2b(
            f"{self.rollout.candidate}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8
        ).digest()
        return int.from_bytes(digest) < self.rollout.percent / 100 * SHARES
