"""The command `rayjobs` where it cannot work: one line, a status, nothing started."""

from __future__ import annotations

import socket
import subprocess
import sys


def _rayjobs(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rayjobs", *arguments], capture_output=True, text=True, timeout=120)


def test_a_taken_port_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = _rayjobs("serve", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1 and f"cannot listen on 127.0.0.1:{port}" in ran.stderr


def test_an_unknown_setting_is_one_line_that_names_it(tmp_path):
    config = tmp_path / "rayjobs.conf"
    config.write_text("http { prot = 1 }")
    ran = _rayjobs("serve", "--config", str(config))
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "http.prot" in ran.stderr


def test_stop_without_a_service_says_so(tmp_path):
    ran = _rayjobs("stop", "--data-dir", str(tmp_path))
    assert ran.returncode == 0 and "nothing runs" in ran.stdout


def test_an_address_without_a_cluster_is_said(tmp_path):
    ran = _rayjobs("serve", "--port", "0", "--data-dir", str(tmp_path), "--address", "127.0.0.1:1")
    assert ran.returncode == 1 and "127.0.0.1:1" in ran.stderr
