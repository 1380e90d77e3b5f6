"""Tokens that are refused all the same, by the list of `[revocation]`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Revoked:
    names: list = field(default_factory=list)  # a `jti`, or one of an `iss`
    subjects: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict:
        return {"jti": self.names, "sub": self.subjects}

    def add(self, other: Revoked) -> None:
        self.names = self.names + other.names
        latest = {user: max(moment, self.subjects.get(user, moment)) for user, moment in other.subjects.items()}
        self.subjects = self.subjects | latest

    def has(self, user: str, iss, name, issued_at) -> bool:
        """`name` is a token's `jti`, or a session's id; `iss` None is nobody's that was checked; `issued_at` None is before everything."""
        for one in self.names:
            if one == name or isinstance(one, dict) and one["jti"] == name and iss in (one["iss"], None):
                return True
        return user in self.subjects and (issued_at is None or issued_at < self.subjects[user])
