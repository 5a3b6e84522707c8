"""Sends and tries, counted before CIAM is asked."""

from __future__ import annotations

from django.http import HttpRequest


def refuse_excess_sends(request: HttpRequest, who: str, channel: str) -> None: ...


def refuse_excess_tries(request: HttpRequest, who: str, stage: str) -> None: ...


def refuse_worn_code(name: str, channel: str) -> None: ...


def forget_tries(request: HttpRequest, who: str) -> None: ...
