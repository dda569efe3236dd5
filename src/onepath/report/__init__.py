"""The report of a run: one page that shows what the run found, what it costs, and how far to trust the figures."""

from onepath.report.page import write_report

__all__ = ["write_report"]
