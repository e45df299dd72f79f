"""What people repeat about alignment training, and what records say of it."""

__all__ = ["CLAIMS", "VERDICTS", "Claim", "Evidence", "Finding", "findings", "judged"]

from alignmeter.analysis.claims.evidence import VERDICTS, Claim, Evidence, Finding, judged
from alignmeter.analysis.claims.table import CLAIMS, findings
