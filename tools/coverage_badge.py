"""Draw the coverage of a report as a badge: `coverage_badge.py COVERAGE_XML BADGE_SVG`."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

GREEN, YELLOW, RED = "#3a7d1c", "#a86f00", "#b3261e"
"""Dark enough for white text."""

TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="106" height="20" role="img" aria-label="coverage: {percent}%">
  <rect width="106" height="20" rx="3" fill="{colour}"/>
  <path d="M3 0h59v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#444"/>
  <g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">
    <text x="31" y="14">coverage</text>
    <text x="84" y="14">{percent}%</text>
  </g>
</svg>
"""


def badge(percent: int) -> str:
    """Return the badge for a share of covered lines as SVG."""
    colour = GREEN if percent >= 95 else YELLOW if percent >= 85 else RED
    return TEMPLATE.format(percent=percent, colour=colour)


def percent_covered(report: Path) -> int:
    """Return the share of covered lines, rounded down."""
    return int(100 * float(ET.parse(report).getroot().attrib["line-rate"]))


def main() -> int:
    """Write the badge that the command line asks for; return the exit status."""
    report, image = map(Path, sys.argv[1:])
    image.write_text(badge(percent_covered(report)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
