"""The benchmark: rows that each measure one thing, ours and others' in the same run."""
