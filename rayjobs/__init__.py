"""rayjobs: the job service for Spark on Ray."""

__version__ = "0.1.0"
