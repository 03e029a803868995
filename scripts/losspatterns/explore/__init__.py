"""Pages to look at surfaces in a browser, offline: one for each plane, and an index."""
