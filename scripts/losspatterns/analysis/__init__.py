"""Scores of surfaces and the batch norm study."""
