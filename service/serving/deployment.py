"""The models of a replica in their roles, and the model that answers a request."""

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum

from rqrec.service.serving.served_model import ServedModel

SHARES = 1 << 64


class Role(StrEnum):
    """The role of a loaded model."""

    ACTIVE = "active"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True)
class Rollout:
    """The role of every model, by version; the same on all replicas.

    Attributes:
        active: Version of the model that answers, unless a canary does.
        candidate: Version of the model that is tried beside it; None if there is none.
        role: CANARY: the candidate answers some requests in the active model's place. SHADOW: the candidate is asked
            too, and its answers are only measured.
        percent: Share of the request keys that go to the candidate, in [0, 100].
        revision: How often the rollout was changed on any replica; of two rollouts the higher revision holds.
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
        """All of them, the active one first."""
        return [self.active] if self.candidate is None else [self.active, self.candidate]

    def with_role(self, version: str, role: Role, percent: float) -> "Rollout":
        """The rollout after a version takes a role.

        A model that becomes active ends the candidate's trial.

        Args:
            version: Version of the model.
            role: Its new role.
            percent: Share of the request keys that go to a candidate, in [0, 100].
        """
        revision = self.revision + 1
        if role is Role.ACTIVE or version == self.active:
            return Rollout(version, revision=revision)
        return Rollout(self.active, version, role, percent, revision)

    def to_json(self) -> str:
        """The rollout as replicas share it; `from_json` reads it."""
        fields = {"active": self.active, "trial": self.candidate, "part": self.role}
        return json.dumps({**fields, "percent": self.percent, "revision": self.revision})

    @classmethod
    def from_json(cls, text: str) -> "Rollout":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If the text is anything else.
        """
        try:
            fields = json.loads(text)
            candidate = None if fields["trial"] is None else str(fields["trial"])
            revision = int(fields.get("revision", 0))
            return cls(str(fields["active"]), candidate, Role(fields["part"]), float(fields["percent"]), revision)
        except (TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"expected a rollout as this software writes it, got another text: {error}") from error


@dataclass(frozen=True, eq=False)
class Deployment:
    """The loaded models in their roles.

    Attributes:
        rollout: The role of every version.
        active: The model that answers.
        candidate: The model that is tried beside it; None if there is none.
    """

    rollout: Rollout
    active: ServedModel
    candidate: ServedModel | None = None

    @property
    def models(self) -> list[ServedModel]:
        """All of them, the active one first."""
        return [self.active] if self.candidate is None else [self.active, self.candidate]

    def answering(self, key: str) -> tuple[Role, ServedModel]:
        """The model that answers requests of a key, and its role."""
        if self.candidate is not None and self.rollout.role is Role.CANARY and self._is_tried(key):
            return Role.CANARY, self.candidate
        return Role.ACTIVE, self.active

    def shadow(self, key: str) -> ServedModel | None:
        """The model that is asked about a key as well, and whose answers nobody sees; None if there is none."""
        return self.candidate if self.rollout.role is Role.SHADOW and self._is_tried(key) else None

    def _is_tried(self, key: str) -> bool:
        # The version is part of the hash, so that no user is in every trial.
        digest = hashlib.blake2b(
            f"{self.rollout.candidate}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8
        ).digest()
        return int.from_bytes(digest) < self.rollout.percent / 100 * SHARES
