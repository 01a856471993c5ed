"""The report: one self-contained HTML page, and contact sheets, from the artifacts of a run."""

from optidel.report.page import write_report
from optidel.report.sheets import composites_sheet, refused_sheet, selection_sheet

__all__ = ["composites_sheet", "refused_sheet", "selection_sheet", "write_report"]
