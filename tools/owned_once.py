"""Check that no file of this environment belongs to two distributions: `owned_once.py NAME...`.

Installing or removing one of the two would break the other.
"""

import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path


def owners() -> dict[str, list[str]]:
    """Return for every installed file the names of the distributions that list it."""
    found: dict[str, list[str]] = defaultdict(list)
    for distribution in metadata.distributions():
        for file in distribution.files or []:
            found[str(Path(str(distribution.locate_file(file))).resolve())].append(distribution.metadata["Name"])
    return found


def main() -> int:
    """Print each file that is owned twice and whether the named distributions are here; return the exit status."""
    missing = [name for name in sys.argv[1:] if not any(metadata.distributions(name=name))]
    found = owners()
    twice = {path: names for path, names in found.items() if len(names) > 1}
    for path, names in sorted(twice.items()):
        print(f"{path}: owned by {' and '.join(names)}")
    for name in missing:
        print(f"{name}: not installed")
    print(f"{len(found)} files, {len(twice)} owned twice")
    return 1 if twice or missing else 0


if __name__ == "__main__":
    sys.exit(main())
