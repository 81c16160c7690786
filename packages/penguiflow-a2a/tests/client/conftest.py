"""Lets the tests of the client import the agent that they script."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
