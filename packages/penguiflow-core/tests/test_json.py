"""What JSON cannot hold is told apart from what it can."""

import pytest
from pydantic import BaseModel, ConfigDict

from penguiflow._json import encode, to_plain, to_plain_or_text


class Odd:
    def __str__(self) -> str:
        return "odd"


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    odd: Odd
    number: int = 1


def test_what_json_cannot_hold_is_refused() -> None:
    for convert in (encode, to_plain):
        with pytest.raises(ValueError, match="serialize"):
            convert({"odd": Odd()})


def test_only_the_part_that_json_cannot_hold_becomes_text() -> None:
    value = {"models": [Holder(odd=Odd())], 3: (1, Odd())}

    assert to_plain_or_text(value) == {"models": [{"odd": "odd", "number": 1}], "3": [1, "odd"]}


def test_a_payload_that_contains_itself_comes_to_an_end() -> None:
    loop: list[object] = []
    loop.append(loop)

    assert "[" in str(to_plain_or_text(loop))
