"""Files: artifacts with their records, unfinished work, tracing, digests of code."""
