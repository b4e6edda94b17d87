"""The command `rayjobs`: serve, archive, stop, settings, env."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from rayjobs import __version__, settings
from rayjobs.errors import RayJobsError
from rayjobs.supported import unsupported_here

_ARCHIVE = "make the archive of classes that Spark's JVMs start faster with, unless it is there; takes 10 s or more"


def main(argv: list[str] | None = None) -> None:
    """Run one command; exits with 2 and one line on what cannot work, 1 on what went wrong."""
    if reason := unsupported_here():
        _exit(reason, 2)
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except RayJobsError as error:
        _exit(error.message, 2)
    except (OSError, RuntimeError, TimeoutError) as error:
        _exit(str(error), 1)
    except KeyboardInterrupt:
        _exit("interrupted", 130)


def build_parser() -> argparse.ArgumentParser:
    """The command line: one subcommand each for serve, archive, stop, settings, env."""
    parser = argparse.ArgumentParser(prog="rayjobs", description="The job service for Spark on Ray.")
    parser.add_argument("--version", action="version", version=f"rayjobs {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = _command(commands, "serve", _serve, "start or join Ray, and serve HTTP until Ctrl-C")
    serve.add_argument("--host", help="address to bind to (default 127.0.0.1: this machine only)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 for any free one (default 8090)")
    archive = commands.add_parser("archive", help=_ARCHIVE, description=_ARCHIVE)
    archive.set_defaults(run=_archive)
    _command(commands, "stop", _stop, "end the contexts and the service on a cluster, and a Ray started by serve")
    _command(commands, "settings", _settings, "list every setting: key, environment variable, value, meaning")
    _command(commands, "env", _env, "print the environment `ray start` needs, as shell exports (use with eval)")
    return parser


def _command(commands: Any, name: str, run: Any, meaning: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=meaning, description=meaning)
    command.add_argument("--config", type=Path, metavar="FILE", help="settings file (HOCON)")
    command.add_argument("--data-dir", help="where history, binaries, results and logs live")
    command.add_argument("--address", help="the Ray cluster to join, `auto` for the one on this machine")
    command.set_defaults(run=run)
    return command


def _load(args: argparse.Namespace) -> settings.Settings:
    overrides = {
        "data_dir": args.data_dir,
        "ray_address": args.address,
        "host": getattr(args, "host", None),
        "port": getattr(args, "port", None),
    }
    return settings.load(args.config, overrides=overrides)


def _serve(args: argparse.Namespace) -> None:
    loaded = _load(args)
    from rayjobs import server
    from rayjobs.spark import archive, jvm

    with archive.made_meanwhile(jvm.archive()):
        server.serve(loaded, _say, _progress)


def _archive(_: argparse.Namespace) -> None:
    from rayjobs.spark import jvm

    archive = jvm.archive()
    begun = time.monotonic()
    if archive.make():
        _say(f"{archive.path} is made, in {time.monotonic() - begun:.0f} s")
    else:
        _say(f"{archive.path} is there")


def _stop(args: argparse.Namespace) -> None:
    loaded = _load(args)
    from rayjobs import server

    server.stop(loaded, _say)


def _settings(args: argparse.Namespace) -> None:
    loaded = _load(args)
    for info in settings.setting_infos():
        value = getattr(loaded, info.attribute)
        shown = "***" if info.is_secret and value else repr(value)
        print(f"{info.key} = {shown}\n    {info.meaning} [{info.env}]")


def _env(_: argparse.Namespace) -> None:
    from rayjobs import cluster

    for name, value in cluster.worker_environment().items():
        print(f"export {name}={shlex.quote(value)}")


def _say(line: str) -> None:
    _clear_progress()
    print(f"rayjobs: {line}", flush=True)


def _progress(line: str) -> None:
    """One line that overwrites itself, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[Krayjobs: {line}", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _exit(reason: str, status: int) -> None:
    _clear_progress()
    print(f"rayjobs: {reason}", file=sys.stderr)
    sys.exit(status)
