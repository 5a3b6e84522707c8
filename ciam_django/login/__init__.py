"""The views of a sign-in, and the cookies that store a sign-in until it ends."""

from __future__ import annotations
