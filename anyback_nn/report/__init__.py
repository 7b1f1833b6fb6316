"""The report of a trained network: one HTML page with what it learned, and how.

It needs the extra ``report``.
"""

from anyback_nn.report.activity import read_activity
from anyback_nn.report.build import build_report, require_libraries
from anyback_nn.report.subject import Score, Subject

__all__ = ["Score", "Subject", "build_report", "read_activity", "require_libraries"]
