"""Write a page of the API reference for each public module; mkdocs runs this while it builds the site.

A module is public when neither its name nor that of a package around it begins with an underscore.
"""

from collections.abc import Iterator
from pathlib import Path

import mkdocs_gen_files


def public_modules(source: Path) -> Iterator[str]:
    """Return the dotted names of the public modules below a source directory, in order."""
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and not any(part.startswith("_") for part in parts):
            yield ".".join(parts)


for directory in sorted([*Path("packages").glob("*/src"), *Path("packages").glob("*/python")]):
    for module in public_modules(directory):
        with mkdocs_gen_files.open(f"reference/{module}.md", "w") as page:
            page.write(f"# `{module}`\n\n::: {module}\n")
