"""The report page: scores, curves, failures and transcripts in one self-contained HTML file.

`page.render` puts it together; figures are inline SVG made here, transcripts are JSON that the
page's own script (`assets/`) renders when a person opens them. Nothing is loaded from elsewhere.
"""

from sea_data.evaluation.report.page import Page, render

__all__ = ["Page", "render"]
