"""The documentation is built strictly."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def site(copy: Path, root: Path) -> Path:
    """A copy of the documentation and of what it is drawn from."""
    shutil.copytree(root / "docs", copy / "docs")
    for name in ("CONTRIBUTING.md", "mkdocs.yml"):
        shutil.copy(root / name, copy)
    return copy


def build(site: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DISABLE_MKDOCS_2_WARNING": "true", "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(120)
def test_a_broken_link_fails_the_build(site: Path) -> None:
    with (site / "docs/index.md").open("a", encoding="utf-8") as page:
        page.write("\n[nowhere](nowhere.md)\n")

    done = build(site)

    assert done.returncode == 1
    assert "'nowhere.md', but the target is not found" in done.stderr


@pytest.mark.timeout(120)
def test_every_public_module_gets_a_page(site: Path) -> None:
    done = build(site)

    assert done.returncode == 0, done.stderr
    assert (site / "site/reference/penguiflow/index.html").is_file()
    assert not list((site / "site/reference").glob("*._*"))
