"""The documentation: the site, and the code that stands in it."""

from __future__ import annotations

from pathlib import Path

import nox

from noxfiles import _environments, _packages

QUIET = {"DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "1"}
"""The theme and a plugin announce other projects on every build."""


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site; a warning is an error."""
    _environments.sync(session, "docs", "lint")
    session.run("mkdocs", "build", "--strict", *session.posargs, env=QUIET)


@nox.session
def docs_code(session: nox.Session) -> None:
    """Run the code blocks of the READMEs and of the documentation.

    Pages of a package that needs cargo, or an engine of several gigabytes, are left to the session that has it.
    """
    _environments.sync(session, "dev", "examples")
    pages = [page for root in ("docs", "examples", "packages") for page in sorted(Path(root).rglob("*.md"))]
    elsewhere = {package.name for package in (*_packages.native(), *_packages.over_native())} | {"vllm"}
    able = [page for page in pages if not elsewhere & {part.partition("_")[0] for part in page.parts}]
    session.run("python", "tools/docs_code.py", *map(str, [*sorted(Path().glob("*.md")), *able]))
