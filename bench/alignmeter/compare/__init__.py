"""Two sets of records against each other: pairs, verdicts, gates, and how they are written down."""

__all__ = [
    "METRICS",
    "VERDICTS",
    "CellComparison",
    "Comparison",
    "Figure",
    "bencher_json",
    "compare",
    "failures",
    "junit_xml",
    "markdown_text",
    "parse_gates",
    "terminal_lines",
    "undecided",
]

from alignmeter.compare.bencher import bencher_json
from alignmeter.compare.gate import failures, parse_gates, undecided
from alignmeter.compare.junit import junit_xml
from alignmeter.compare.markdown import markdown_text
from alignmeter.compare.metrics import METRICS
from alignmeter.compare.result import VERDICTS, CellComparison, Comparison, Figure
from alignmeter.compare.terminal import terminal_lines
from alignmeter.compare.verdicts import compare
