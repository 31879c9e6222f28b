"""The deployment: the loaded models of a replica with their roles, and the choice of the model for a request."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from rqrec.service.errors import InvalidPart
from rqrec.service.outcomes.health_recorder import HealthRecorder
from rqrec.service.serving.served_model import ServedModel

SHARES = 1 << 64


class Role(StrEnum):
    """The role of a loaded model.

    ACTIVE answers the requests. CANARY answers a share of them. SHADOW gets a copy of a share of the requests; its
    answers are measured and not returned.
    """

    ACTIVE = "active"
    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True)
class Rollout:
    """Says which model version has which role. All replicas follow the same rollout.

    A routing key decides which model answers a request. It is a text in the request, such as the user's id; a request
    without it gets a random one.

    Attributes:
        active: Version of the active model, which answers all requests that do not go to a canary.
        candidate: Version of the canary or shadow model; None if there is none.
        role: Role of the candidate, CANARY or SHADOW; ACTIVE if there is no candidate.
        percent: Percentage of the routing keys that go to the candidate, in [0, 100].
        revision: A number that grows with every change. Of two rollouts, the one with the higher revision is valid.
    """

    active: str
    candidate: str | None = None
    role: Role = Role.ACTIVE
    percent: float = 0.0
    revision: int = field(default=0, compare=False)

    @property
    def changed_at(self) -> float:
        """When the roles changed, in seconds since 1970, by the clock of the replica that changed them."""
        return self.revision / 1000

    def __str__(self) -> str:
        return (
            self.active
            if self.candidate is None
            else f"{self.active}, {self.candidate} as {self.role} to {self.percent:g} %"
        )

    @property
    def versions(self) -> list[str]:
        """The versions of the active model and, if there is one, of the candidate, in this order."""
        return [self.active] if self.candidate is None else [self.active, self.candidate]

    def with_role(self, version: str, role: Role, percent: float) -> "Rollout":
        """Returns the rollout in which a model has a new role. If the model becomes active, there is no candidate.

        If the models have these roles already, the rollout stays the same, so its trial goes on. Else the revision, a
        number that grows with every change, becomes higher. It is also at least the present time in milliseconds, so
        that it exceeds that of a rollout which Redis has lost.

        Args:
            version: Version of the model.
            role: The new role of the model.
            percent: Percentage of the routing keys that go to a canary or shadow, in [0, 100]; see `Rollout`.

        Raises:
            InvalidPart: If the active model is to become a canary or shadow.
        """
        if role is not Role.ACTIVE and version == self.active:
            raise InvalidPart(
                ("part",), f"{version!r} is the active model and no {role}: expected another version of GET /models"
            )
        new = Rollout(version) if role is Role.ACTIVE else Rollout(self.active, version, role, percent)
        if new == self and self.revision > 0:  # 0: nobody has chosen these roles yet
            return self
        return replace(new, revision=max(self.revision + 1, round(1000 * time.time())))

    def to_json(self) -> str:
        """Encodes the rollout as JSON, for Redis. The fields `trial` and `part` are the candidate and its role."""
        fields = {"active": self.active, "trial": self.candidate, "part": self.role}
        return json.dumps({**fields, "percent": self.percent, "revision": self.revision})

    @classmethod
    def from_json(cls, text: str) -> "Rollout":
        """Decodes a rollout from the JSON that `to_json` returns.

        Args:
            text: The JSON of a rollout.

        Raises:
            ValueError: If the text is not the JSON of a rollout.
        """
        try:
            fields = json.loads(text)
            candidate = None if fields["trial"] is None else str(fields["trial"])
            revision = int(fields.get("revision", 0))
            return cls(str(fields["active"]), candidate, Role(fields["part"]), float(fields["percent"]), revision)
        except (TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"expected a rollout as JSON, got another text: {error}") from error


class Choice(NamedTuple):
    """The model that answers a request.

    Attributes:
        role: The role of the model.
        model: The model.
        health: Records how it answers.
        shadow: The shadow model that gets a copy of the request; None if there is none.
        is_sample: Whether the answer counts in the trial of the models. It does not if the request named the model.
    """

    role: Role
    model: ServedModel
    health: HealthRecorder
    shadow: ServedModel | None
    is_sample: bool


@dataclass(frozen=True, eq=False)
class Deployment:
    """The loaded models of a replica, with their roles.

    Attributes:
        rollout: Says which model version has which role.
        active: The active model.
        candidate: The canary or shadow model; None if there is none.
        health: How this replica has answered since these roles began, by role.
    """

    rollout: Rollout
    active: ServedModel
    candidate: ServedModel | None = None
    health: Mapping[Role, HealthRecorder] = field(
        init=False, default_factory=lambda: {role: HealthRecorder() for role in Role}
    )

    @property
    def models(self) -> list[ServedModel]:
        """The active model and, if there is one, the candidate, in this order."""
        return [self.active] if self.candidate is None else [self.active, self.candidate]

    def models_by_role(self) -> dict[Role, ServedModel]:
        """Returns the loaded models by their roles, the active one first."""
        return dict(zip((Role.ACTIVE, self.rollout.role), self.models, strict=False))

    def choice(self, key: str, version: str | None = None) -> Choice:
        """Returns the choice of the model for a request.

        Args:
            key: The routing key of the request, such as a user's id.
            version: Version of the model that the request names. Such a request is no sample of the trial, and has no
                shadow. None to let the routing key choose.

        Raises:
            InvalidPart: If no loaded model has the version.
        """
        if version is not None:
            return self._named(version)
        role, goes = self.rollout.role, self.candidate is not None and self._goes_to_candidate(key)
        if self.candidate is not None and role is Role.CANARY and goes:
            return Choice(role, self.candidate, self.health[role], None, is_sample=True)
        shadow = self.candidate if role is Role.SHADOW and goes else None
        return Choice(Role.ACTIVE, self.active, self.health[Role.ACTIVE], shadow, is_sample=True)

    def _named(self, version: str) -> Choice:
        loaded = self.models_by_role()
        for role, model in loaded.items():
            if model.version == version:
                return Choice(role, model, HealthRecorder(), None, is_sample=False)  # nobody reads this recorder
        text = " or ".join(f"{model.version!r} ({role})" for role, model in loaded.items())
        raise InvalidPart(("model_version",), f"expected the version of a loaded model, {text}, got {version!r}")

    def _goes_to_candidate(self, key: str) -> bool:
        # The hash includes the version, so that each candidate gets other users.
        digest = hashlib.blake2b(
            f"{self.rollout.candidate}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8
        ).digest()
        return int.from_bytes(digest) < self.rollout.percent / 100 * SHARES
