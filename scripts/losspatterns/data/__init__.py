"""Pictures (masks) and data sets: where images come from."""
