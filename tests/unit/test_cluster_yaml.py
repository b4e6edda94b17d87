"""cluster.yaml is what Ray's launcher takes, and every command in it and in docs/cluster.md exists as it is written."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import psutil
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.core.generated.autoscaler_pb2 import NodeState, NodeStatus
from ray.core.generated.instance_manager_pb2 import Instance, NodeKind
from ray.scripts.scripts import cli as ray_cli

from rayjobs.cli import build_parser

ROOT = Path(__file__).parents[2]
CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
DOCS = (ROOT / "docs" / "cluster.md").read_text()
TOKEN = "~/.ray/auth_token"

TOOLS = {"apt-get", "cat", "chmod", "grep", "mkdir", "mv", "ps", "rm", "seq", "sleep", "tail", "touch"}
BUILTINS = {"[", "break", "cd", "echo", "eval", "exit", "export", "kill"}
KEYWORDS = {"!", "do", "done", "else", "fi", "if", "then"}
WRAPPERS = {"nohup": 1, "sudo": 1, "timeout": 2}
"""Commands that run another one, and how many of their words come before it."""


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


def _commands_of(config: dict[str, Any]) -> list[str]:
    return [command for key, commands in config.items() if key.endswith("_commands") for command in commands]


(AWS,) = map(yaml.safe_load, _blocks("yaml"))
COMMANDS = _commands_of(CLUSTER) + _commands_of(AWS) + _blocks("sh")


def simple_commands(shell: str) -> Iterator[list[str]]:
    """The words of every simple command, those in `$(...)` and of `ray exec` too; no redirections, no assignments."""
    for inner in re.findall(r"\$\(([^()]+)\)", shell):
        yield from simple_commands(inner)
    shell = shell.replace("\\\n", " ")
    for left_out, instead in ((r"\$\([^()]+\)", "SUBSTITUTED"), (r"\d?[<>]+&?\s*\S+", ""), (r"(?<!\S)#.*", "")):
        shell = re.sub(left_out, instead, shell)
    lexer = shlex.shlex(shell, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if token[0] not in ";&|\n":
            words.append(token)
            continue
        while words and (words[0] in KEYWORDS or re.match(r"\w+=", words[0])):
            words.pop(0)
        if words and words[0] != "for":
            yield words[WRAPPERS.get(words[0], 0) :]
        if words[:2] == [".venv/bin/ray", "exec"]:
            yield from simple_commands(words[-1])
        words = []


def problems(shell: str) -> list[str]:
    """What is wrong with a shell command: its syntax, a program that is not there, a subcommand, an option."""
    syntax = subprocess.run(["bash", "-n", "-c", shell], capture_output=True, text=True)
    if syntax.returncode or syntax.stderr:
        return [syntax.stderr]
    return [problem for words in simple_commands(shell) if (problem := _problem(words))]


def _problem(words: list[str]) -> str | None:
    program, arguments = words[0], words[1:]
    if program.startswith(".venv/bin/"):
        return _script_problem(Path(program).name, arguments)
    if "/" in program:
        return None if os.access(ROOT / program, os.X_OK) else f"{program} is no program of the repository"
    return None if program in TOOLS | BUILTINS else f"{program} is not known to be there"


def _script_problem(name: str, arguments: list[str]) -> str | None:
    if not entry_points(group="console_scripts", name=name):
        return f".venv/bin has no {name}"
    check = {"rayjobs": _rayjobs_problem, "ray": _ray_problem}.get(name)
    return check(arguments) if check else None


def _rayjobs_problem(arguments: list[str]) -> str | None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            build_parser().parse_args(arguments)
    except SystemExit:
        return said.getvalue()
    return None


def _ray_problem(arguments: list[str]) -> str | None:
    try:
        name, command, rest = ray_cli.resolve_command(click.Context(ray_cli), arguments)
        command.make_context(name, rest)
    except click.ClickException as error:
        return error.format_message()
    return None


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_file_and_the_docs_exists(command: str) -> None:
    assert not problems(command)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("cd ~/rayjobs && .venv/bin/ray strat --head", "No such command 'strat'"),
        (".venv/bin/ray start --head --dashbord-host=127.0.0.1", "No such option '--dashbord-host'"),
        (".venv/bin/ray start --head --port=first", "'first' is not a valid int"),
        ('eval "$(.venv/bin/rayjobs evn)"', "invalid choice: 'evn'"),
        ("nohup .venv/bin/rayjobs serve --adress auto </dev/null >log 2>&1 &", "unrecognized arguments: --adress"),
        ("if true; then .venv/bin/rayjobs serve --port many; fi", "invalid int value: 'many'"),
        ("timeout 180 .venv/bin/rayjob stop", ".venv/bin has no rayjob"),
        ("cd ~/rayjobs && scripts/enviroment", "scripts/enviroment is no program of the repository"),
        ("pid=$(catt server.pid)", "catt is not known"),
        ("ls\n.venv/bin/ray up cluster.yaml # here\n.venv/bin/ray down --no cluster.yaml", "No such option '--no'"),
        (".venv/bin/ray exec cluster.yaml 'cd rayjobs && .venv/bin/ray stat'", "No such command 'stat'"),
        ("if grep -q x y; then exit 0", "syntax error"),
    ],
)
def test_a_misspelt_command_is_found(command: str, said: str) -> None:
    assert said in "\n".join(problems(command))


def test_the_server_and_the_dashboard_are_reached_from_their_own_machine_only() -> None:
    commands = [words for command in CLUSTER["head_start_ray_commands"] for words in simple_commands(command)]
    (serve,) = (words for words in commands if words[:2] == [".venv/bin/rayjobs", "serve"])
    (start,) = (words for words in commands if words[:2] == [".venv/bin/ray", "start"])
    assert build_parser().parse_args(serve[1:]).host == "127.0.0.1"
    assert "--dashboard-host=127.0.0.1" in start


def test_ray_takes_the_file_and_keeps_every_worker() -> None:
    config = prepare_config(CLUSTER)
    validate_config(config)
    (node_type,) = config["available_node_types"].values()
    assert node_type["min_workers"] == node_type["max_workers"] == len(CLUSTER["provider"]["worker_ips"])


def test_ray_takes_the_file_changed_for_aws_as_the_docs_say() -> None:
    validate_config(prepare_config(CLUSTER | AWS))


def test_a_misspelt_key_is_refused_by_ray() -> None:
    with pytest.raises(Exception, match="file_mount"):
        validate_config(prepare_config(CLUSTER | {"file_mount": {}}))


def test_a_node_gets_what_the_environment_is_made_of_and_the_token() -> None:
    mounts = dict(CLUSTER["file_mounts"])
    assert mounts.pop(TOKEN) == TOKEN
    assert all(there == f"~/rayjobs/{here.removeprefix('./')}" for there, here in mounts.items())
    assert all((ROOT / here).exists() for here in mounts.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {package.partition(".")[0] for package in project["tool"]["setuptools"]["packages"]}
    needed = {"pyproject.toml", "constraints.txt", "scripts", project["project"]["readme"]} | packages
    assert {Path(here).name for here in mounts.values()} == needed


def test_rays_new_autoscaler_still_counts_the_head_as_a_worker() -> None:
    """When this fails, Ray is mended, and `RAY_enable_autoscaler_v2=0` can go from cluster.yaml."""
    config = AutoscalingConfig(CLUSTER | {"auth": {}}, skip_content_hash=True)
    (kind,) = config.get_node_type_configs()
    head = AutoscalerInstance(
        ray_node=NodeState(node_id=b"head", ray_node_type_name=kind, status=NodeStatus.IDLE, total_resources={}),
        im_instance=Instance(
            instance_id="1", node_id="head", instance_type=kind, status=Instance.RAY_RUNNING, node_kind=NodeKind.HEAD
        ),
        cloud_instance_id=CLUSTER["provider"]["head_ip"],
    )
    reply = ResourceDemandScheduler(None).schedule(
        SchedulingRequest(
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            current_instances=[head],
            disable_launch_config_check=True,
        )
    )
    assert sum(request.count for request in reply.to_launch) == len(CLUSTER["provider"]["worker_ips"]) - 1


FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$HOME/calls"
case "$1" in
    env) echo 'export JAVA_HOME=/java' ;;
    start) echo "java at $JAVA_HOME, autoscaler v2: $RAY_enable_autoscaler_v2" >> "$HOME/calls" ;;
    serve)
        [ ! -e "$HOME/port-is-taken" ] || { echo 'rayjobs: cannot listen'; exit 1; }
        trap 'exit 0' TERM
        echo 'rayjobs: serving on http://127.0.0.1:8090'
        while :; do sleep 0.05; done ;;
esac
"""


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Path]:
    """The home directory of a head whose `ray` and `rayjobs` are fakes that write down how they were called."""
    programs = tmp_path / "rayjobs" / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("ray", "rayjobs"):
        (programs / name).write_text(FAKE)
        (programs / name).chmod(0o755)
    yield tmp_path
    with contextlib.suppress(OSError, psutil.NoSuchProcess):
        _server(tmp_path).kill()


def _start(home: Path) -> list[str]:
    """Run the head's start commands in the shell that Ray's launcher runs them in; what the fakes wrote down."""
    (home / "calls").write_text("")
    for command in CLUSTER["head_start_ray_commands"]:
        shell = ["bash", "--login", "-c", "-i", f"source ~/.bashrc; export RAY_enable_autoscaler_v2=1; ({command})"]
        done = subprocess.run(shell, env=os.environ | {"HOME": str(home)}, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise ChildProcessError(done.stdout)
    return (home / "calls").read_text().splitlines()


def _server(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "rayjobs-data" / "server.pid").read_text()))


def test_starting_again_ends_what_the_first_start_left(head: Path) -> None:
    calls = _start(head)
    first = _server(head)
    assert [call.split()[1] for call in calls] == ["stop", "env", "start", "at", "serve"]
    assert "java at /java, autoscaler v2: 0" in calls

    calls = _start(head)
    assert [call.split()[:2] for call in calls[:2]] == [["rayjobs", "stop"], ["ray", "stop"]]
    assert not first.is_running()
    assert _server(head).is_running()


def test_a_process_that_got_the_servers_pid_after_a_reboot_lives_on(head: Path) -> None:
    innocent = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (head / "rayjobs-data").mkdir()
        (head / "rayjobs-data" / "server.pid").write_text(str(innocent.pid))
        _start(head)
        assert innocent.is_running() and _server(head).pid != innocent.pid
    finally:
        innocent.kill()
        innocent.wait()


def test_a_server_that_cannot_start_fails_the_launch_with_its_words(head: Path) -> None:
    (head / "port-is-taken").touch()
    with pytest.raises(ChildProcessError, match="rayjobs: cannot listen"):
        _start(head)


def test_the_words_that_the_launch_waits_for_are_the_servers() -> None:
    assert "grep -q 'serving on'" in CLUSTER["head_start_ray_commands"][-1]
    assert 'say(f"serving on ' in (ROOT / "rayjobs" / "server.py").read_text()
