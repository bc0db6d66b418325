"""One page about an exam and what a model says of it, for a clinician: as PDF and as HTML.

``make_report`` puts everything into words and pictures, ``pdf_bytes`` and ``html_text`` only lay it out.
"""

from octcube_core.report.content import Report, ScoreLine, make_report
from octcube_core.report.html import html_text
from octcube_core.report.pdf import pdf_bytes
from octcube_core.report.pictures import ReportPicture
from octcube_core.results import why_no_report

__all__ = [
    "Report",
    "ReportPicture",
    "ScoreLine",
    "html_text",
    "make_report",
    "pdf_bytes",
    "why_no_report",
]
