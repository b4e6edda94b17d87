"""What the command line says before anything is started."""

from __future__ import annotations

import pytest

from rayjobs import settings
from rayjobs.cli import build_parser, main
from rayjobs.supported import unsupported


@pytest.mark.parametrize(
    ("python", "system", "machine", "said"),
    [
        ((3, 10), "linux", "x86_64", "needs Python 3.11"),
        ((3, 13), "linux", "x86_64", "this is 3.13"),
        ((3, 11), "win32", "AMD64", "this is win32"),
        ((3, 12), "linux", "riscv64", "riscv64"),
    ],
)
def test_a_python_or_platform_that_cannot_work_is_named_in_one_line(python, system, machine, said):
    reason = unsupported(python, system, machine)
    assert reason and said in reason and "\n" not in reason


def test_what_can_work_is_not_refused():
    assert unsupported((3, 11), "linux", "x86_64") is None
    assert unsupported((3, 12), "darwin", "arm64") is None


def test_every_setting_is_listed(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYJOBS_DATA_DIR", str(tmp_path))
    main(["settings"])
    listed = capsys.readouterr().out
    assert all(f"{info.key} = " in listed and info.env in listed for info in settings.setting_infos())


def test_a_secret_is_listed_as_stars(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYJOBS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RAYJOBS_CALLBACKS_SECRET", "whsec_" + "aB3+" * 8)
    main(["settings"])
    listed = capsys.readouterr().out
    assert "callbacks.secret = ***\n" in listed and "aB3+" not in listed


@pytest.mark.parametrize("command", ["serve", "stop", "settings", "env"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        build_parser().parse_args([command, "--help"])
    assert end.value.code == 0 and "--data-dir" in capsys.readouterr().out
