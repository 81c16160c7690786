"""Print what an installed distribution requires here, a line each: `required_by.py NAME [WITHOUT...]`.

For a distribution that was installed without its requirements because one of them cannot be had.
"""

import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement


def required(lines: list[str], without: set[str]) -> Iterator[str]:
    """Give the requirements that hold in this environment, extras aside, but for those named."""
    for line in lines:
        requirement = Requirement(line)
        is_here = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if is_here and requirement.name not in without:
            requirement.marker = None
            yield str(requirement)


if __name__ == "__main__":
    for found in required(metadata.requires(sys.argv[1]) or [], set(sys.argv[2:])):
        print(found)
