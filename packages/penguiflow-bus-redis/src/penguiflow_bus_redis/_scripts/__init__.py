"""The scripts that Redis runs, each of them one atomic step; `prelude.lua` says which keys there are."""

from __future__ import annotations

from importlib import resources

__all__ = ["NAMES", "source"]

NAMES = ("ack", "expire", "give_back", "hand_out", "held", "holds", "leave", "poll", "put", "replay")


def source(name: str) -> str:
    """Return the text of a script."""
    folder = resources.files(__name__)
    return "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("prelude", name))
