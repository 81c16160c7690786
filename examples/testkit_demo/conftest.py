"""Lets the tests import the flow as the script beside them does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
