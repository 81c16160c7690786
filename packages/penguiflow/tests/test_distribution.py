"""The distribution without modules: what it brings, and that it owns nothing."""

import re
from importlib import metadata

NAME = "penguiflow"


def test_it_owns_no_module() -> None:
    files = [str(file) for file in metadata.files(NAME) or []]

    assert files
    assert not [file for file in files if file.endswith((".py", ".pth")) and "__editable__" not in file]


def test_it_brings_the_runtime_of_its_own_version() -> None:
    assert metadata.version("penguiflow-core") == metadata.version(NAME)


def test_every_requirement_is_pinned_to_its_own_version() -> None:
    version = re.escape(metadata.version(NAME))

    for requirement in metadata.requires(NAME) or []:
        assert re.match(rf"(penguiflow|pegaflow)[\w-]*(\[[\w,-]+\])?=={version}\b", requirement), requirement
