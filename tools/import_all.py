"""Import every module of the named packages from this environment: `import_all.py PACKAGE...`.

Warnings are errors, and a package that comes from anywhere else than this environment is refused. A module that asks
for an extra by its `pip install "NAME[EXTRA]"` may fail where that extra is not installed. Stands on the standard
library alone, since it runs where nothing but the wheel under test is installed.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import sys
import traceback
import warnings
from pathlib import Path


def modules(package: str) -> list[str]:
    """Return the package and every module below it, private ones too, without importing more than the packages."""
    root = importlib.import_module(package)
    below = pkgutil.walk_packages(root.__path__, prefix=f"{package}.", onerror=_fail)
    return [package, *(module.name for module in below if not module.name.endswith(".__main__"))]


def lacks_extra(error: BaseException) -> bool:
    """Return whether the error names an extra, one of whose requirements is not installed."""
    named = re.search(r'pip install "([\w-]+)\[([\w-]+)\]"', str(error)) if isinstance(error, ImportError) else None
    if named is None:
        return False
    distribution, extra = named.groups()
    for requirement in importlib.metadata.requires(distribution) or []:
        name = re.match(r"[\w.-]+", requirement)
        if name and re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", requirement) and not is_installed(name[0]):
            return True
    return False


def is_installed(distribution: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def is_here(package: str) -> bool:
    """Return whether the package would come from this environment."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    return Path(sys.prefix).resolve() in Path(spec.origin).resolve().parents


def main() -> int:
    """Import what the command line names; return the exit status."""
    warnings.simplefilter("error")
    for package in sys.argv[1:]:
        if not is_here(package):
            print(f"{package}: not installed in {sys.prefix}")
            return 1
        found = modules(package)
        for name in found:
            try:
                importlib.import_module(name)
            except Exception as error:
                if lacks_extra(error):
                    print(f"{name}: left out: {error}")
                    continue
                traceback.print_exc()
                print(f"{name}: can't be imported with what its distribution declares")
                return 1
        print(f"{package}: {len(found)} modules imported")
    return 0


def _fail(name: str) -> None:
    error = sys.exc_info()[1]
    if error is not None and lacks_extra(error):
        return
    raise ImportError(f"{name}: can't be imported with what its distribution declares", name=name)


if __name__ == "__main__":
    sys.exit(main())
