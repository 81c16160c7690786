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


def page(module: str, others: list[str]) -> str:
    """Return the page of a module; that of a package names its public modules, which describe what it exports."""
    below = [other for other in others if other.startswith(f"{module}.")]
    if not below:
        return f"# `{module}`\n\n::: {module}\n"
    contents = "".join(f"- [`{other}`]({other}.md)\n" for other in below)
    return f"# `{module}`\n\n::: {module}\n    options:\n      members: false\n\n## Modules\n\n{contents}"


for directory in sorted([*Path("packages").glob("*/src"), *Path("packages").glob("*/python")]):
    found = list(public_modules(directory))
    for name in found:
        with mkdocs_gen_files.open(f"reference/{name}.md", "w") as file:
            file.write(page(name, found))
