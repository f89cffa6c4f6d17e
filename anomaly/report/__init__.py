"""A run as one HTML page with pictures.

In: `ReportData`, plain things that a command has gathered from a run.
Out: one self-contained file that needs no network and no font, with one small script of its own that filters the list;
beside it its figures as SVG and its tables as CSV. Stories as pictures.
"""

from anomaly.explain.story import Told
from anomaly.report.data import Case, CaseEvent, ReportData
from anomaly.report.page import write_report

__all__ = ["Case", "CaseEvent", "ReportData", "Told", "write_report"]
