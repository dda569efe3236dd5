"""One page that shows what a run found, what it costs, and how far to trust it."""

from onepath.report.page import write_report

__all__ = ["write_report"]
