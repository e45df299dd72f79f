"""A comparison as JUnit XML: one test case per cell and metric, a failure per failed gate."""

__all__ = ["junit_xml"]

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from alignmeter.analysis.compare.result import CellComparison, Comparison
from alignmeter.analysis.compare.words import cell_names, result_text

_SKIPPED = ("not available", "invalid", "refused", "lost")
"""Verdicts that say nothing about the metric; where they fail, they are failures."""


def junit_xml(
    comparison: Comparison, failed: Sequence[CellComparison], notes: Sequence[str] = ()
) -> bytes:
    """UTF-8 with a declaration. Test cases of a cell share its id as class name.

    ``notes``: sentences about all of them, kept as the suite's output.
    """
    names = cell_names(comparison)
    loud = {id(row) for row in failed}
    skipped = [r for r in comparison.rows if r.verdict in _SKIPPED and id(r) not in loud]
    counts = {
        "tests": str(len(comparison.rows)),
        "failures": str(len(failed)),
        "errors": "0",
        "skipped": str(len(skipped)),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": "alignmeter compare", **counts})
    for row in comparison.rows:
        name = names[row.cell_id, row.device]
        case = ET.SubElement(suite, "testcase", {"classname": name, "name": row.metric})
        text = result_text(row)
        if id(row) in loud:
            ET.SubElement(case, "failure", {"type": row.verdict, "message": text}).text = text
        elif row.verdict in _SKIPPED:
            ET.SubElement(case, "skipped", {"message": text})
        else:
            ET.SubElement(case, "system-out").text = text
    if notes:
        ET.SubElement(suite, "system-out").text = "\n".join(notes)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"
