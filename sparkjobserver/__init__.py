"""The package that jobs written for spark-jobserver import; `rayjobs.api` holds the code."""
