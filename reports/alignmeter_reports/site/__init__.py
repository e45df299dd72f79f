"""A small static site for a lab: an index of nights, a page a night, and a page a cell.

Files with relative links, so that it works from a disk as from any web server.
"""

__all__ = ["write_site"]

from alignmeter_reports.site.write import write_site
