"""Values that JSON can hold and that adapters tend to change."""

from __future__ import annotations

from penguiflow.types import Json

__all__ = ["JSON_VALUES", "NAMES"]

JSON_VALUES: dict[str, Json] = {
    "null": None,
    "true": True,
    "zero": 0,
    "beyond 64 bits": 2**80,
    "a fraction": 0.1,
    "a whole float": 3.0,
    "a tiny float": 5e-324,
    "empty text": "",
    "text beyond Latin": "Füße, 企鹅, 🐧, \u202eright to left",
    "quotes and backslashes": "'\"\\ %s $1 {} ; --",
    "control signs": "a\x00b\r\n\t\x1f",
    "an empty list": [],
    "an empty object": {},
    "nested": {"a": [{"b": [[], {}, None, [1, [2, [3]]]]}], "": "an empty key", "a b.c": 1},
    "keys in no order": {"z": 1, "a": 2, "m": 3},
    "a million signs": "x" * 1_000_000,
}
"""By what is peculiar about them."""

NAMES: list[str] = [
    "plain",
    "with a blank",
    "with/slash:colon*star?",
    "企鹅-🐧",
    'quote\'d "twice" \\ %s %',
    "{braces}",
    "x" * 200,
]
"""Ids that users may choose, for traces and queues."""
