"""What people repeat about alignment training, and what records say of it."""

__all__ = [
    "VERDICTS",
    "Claim",
    "Evidence",
    "Finding",
    "claims",
    "findings",
    "judged",
    "step_ratios",
]

from alignmeter.analysis.claims.evidence import VERDICTS, Claim, Evidence, Finding, judged
from alignmeter.analysis.claims.ratios import step_ratios
from alignmeter.analysis.claims.table import claims, findings
