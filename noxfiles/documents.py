"""The documentation: the site, and the code that stands in it."""

from __future__ import annotations

from pathlib import Path

import nox

from noxfiles import _environments

QUIET = {"DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "1"}
"""The theme and a plugin announce other projects on every build."""


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site; a warning is an error."""
    _environments.sync(session, "docs", "lint")
    session.run("mkdocs", "build", "--strict", *session.posargs, env=QUIET)


@nox.session
def docs_code(session: nox.Session) -> None:
    """Run the code blocks of the READMEs and of the documentation."""
    _environments.sync(session, "dev", "examples")
    pages = sorted(str(page) for page in Path().glob("*.md"))
    pages += sorted(str(page) for root in ("docs", "packages", "examples") for page in Path(root).rglob("*.md"))
    session.run("python", "tools/docs_code.py", *pages)
