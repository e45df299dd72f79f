"""Two sets of records against each other: pairs, verdicts, gates, and how they are written down."""

__all__ = [
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
    "unjudged",
    "unjudged_text",
]

from alignmeter.analysis.compare.bencher import bencher_json
from alignmeter.analysis.compare.gate import failures, parse_gates, unjudged, unjudged_text
from alignmeter.analysis.compare.junit import junit_xml
from alignmeter.analysis.compare.markdown import markdown_text
from alignmeter.analysis.compare.result import VERDICTS, CellComparison, Comparison, Figure
from alignmeter.analysis.compare.verdicts import compare
