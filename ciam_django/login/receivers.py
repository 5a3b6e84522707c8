"""What people type in, where a code goes out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Receiver:
    channel: str
    region: str = ""
    number: str = ""
    email: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        if self.channel == "SMS":
            return {"type": "SMS", "phoneRegion": self.region, "phoneNumber": self.number}
        return {"type": "EMAIL", "email": self.email}

    @property
    def key(self) -> str:
        return self.number or self.email

    @property
    def masked(self) -> str:
        if self.number:
            return f"{self.number[:3]}****{self.number[-4:]}"
        return f"{self.email[0]}***@{self.email.partition('@')[2]}"


def phone_receiver(text: str) -> Receiver:
    return Receiver("SMS", "86", text)


def email_receiver(text: str) -> Receiver:
    return Receiver("EMAIL", email=text)


def any_receiver(text: str) -> Receiver:
    return email_receiver(text) if "@" in text else phone_receiver(text)


def username_of(text: str) -> str:
    return text.strip()
