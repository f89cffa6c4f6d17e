"""A run as one HTML page with pictures.

In: `ReportData`, plain things that a command has gathered from a run.
Out: one self-contained file that needs no network, no script and no font of its own.
"""

from anomaly.report.data import Case, CaseEvent, ReportData
from anomaly.report.page import write_report

__all__ = ["Case", "CaseEvent", "ReportData", "write_report"]
