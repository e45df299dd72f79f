"""One module per section of the page, its template of the same stem beside it."""
