"""What the service's actors log: to their standard error, which Ray keeps as files and shows in its dashboard."""

from __future__ import annotations

import logging
import sys


def log_to_stderr() -> None:
    """Let all of ours from INFO on be seen: Ray sets up no logging but its own. A second call does nothing."""
    ours = logging.getLogger("rayjobs")
    if ours.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
