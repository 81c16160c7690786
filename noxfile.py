"""Every check of the repository: `nox` runs them all, `nox -l` lists them, `nox -s NAME` runs one.

The sessions live in `noxfiles/`, a module for each kind; a module that is put there is found by itself.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

import noxfiles
from noxfiles import _interpreters

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"

_interpreters.put_on_path()

for _module in pkgutil.iter_modules(noxfiles.__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"noxfiles.{_module.name}")
