"""The main job of the README, as a person runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.service import await_gone

SCRIPT = Path(__file__).parents[2] / "scripts" / "main_job.py"


def test_the_main_job_counts_right_and_leaves_nothing(tmp_path):
    data_dir = tmp_path / "data"
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "--data-dir", str(data_dir)], capture_output=True, text=True, timeout=250
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    last = ran.stdout.splitlines()[-1]
    assert re.fullmatch(r"main job: OK, \d+ words, cold \d+\.\d s, warm \d+ ms", last), ran.stdout
    assert "Ray dashboard on http://127.0.0.1:" in ran.stdout
    await_gone(str(data_dir))
