"""The group of commands: finds them, runs them, and says how they ended.

Standard output is the result, standard error is progress and errors. Exit status: 0 fine, 1 a
finding or a failure, 2 wrong usage or a wrong specification, 3 a prerequisite is missing, 130
interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import harness
from harness.errors import HarnessError

COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("harness.cli.list:command", "List workloads, targets, briefs, adapters and meters."),
    "show": ("harness.cli.show:command", "Show one workload, target, brief or record."),
    "validate": ("harness.cli.validate:command", "Check YAML files; every problem with its line."),
    "new": ("harness.cli.new:command", "Write a served target's file from the template."),
    "schema": ("harness.cli.schema:command", "Print a document's JSON Schema."),
    "doctor": ("harness.cli.doctor:command", "Check this machine, the runtimes and the plugins."),
    "power": ("harness.cli.power:command", "Show the power that a target draws now, live."),
    "calibrate": ("harness.cli.calibrate:command", "Measure the harness itself on this machine."),
    "models": ("harness.cli.models:command", "List, build, train and clear the models."),
    "plan": ("harness.cli.plan:command", "Show what would run, and why the rest would not."),
    "run": ("harness.cli.run:command", "Measure workloads on targets."),
    "import": ("harness.cli.imports:command", "Join a wall meter's log to the records of a run."),
    "compare": ("harness.cli.compare:command", "Say what differs between two targets or runs."),
    "map": ("harness.cli.map:command", "Answer a brief: the target to buy for each workload."),
    "report": ("harness.cli.report:command", "Write the answer to a brief as one HTML file."),
    "export": ("harness.cli.export:command", "Write the answer as tables, figures and a summary."),
    "index": ("harness.cli.index:command", "Check or rebuild the index of the records."),
}
"""Commands by name: where the command is, and its line in `harness --help`."""

INTERRUPTED = 130
READER_GONE = 141
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors that are a disk's even where no file is named."""


class LazyGroup(click.Group):
    """A group of commands that imports a command when it is used, and ends as the module says."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begins with; an unknown one is a usage error."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"unknown command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' lines from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: object,
    ) -> NoReturn:
        """Run the command that `args` names, print what went wrong, and exit with its status."""
        prog_name = prog_name or "harness"
        try:
            status = self._complete(prog_name, complete_var or "_HARNESS_COMPLETE")
            if status is None:
                arguments = list(sys.argv[1:] if args is None else args)
                status = self._status(arguments, prog_name, extra)
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes again at its end; nothing may be left to fail there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = READER_GONE
        sys.exit(status)

    def _complete(self, prog_name: str, complete_var: str) -> int | None:
        instruction = os.environ.get(complete_var)
        if not instruction:
            return None
        from click.shell_completion import shell_complete

        return shell_complete(self, {}, prog_name, complete_var, instruction)

    def _status(self, arguments: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        try:
            with self.make_context(prog_name, arguments, **extra) as context:
                self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
        except HarnessError as error:
            for problem in getattr(error, "problems", ()):
                _complain(str(problem), problem.hint)
            if not getattr(error, "problems", ()):
                _complain(error.message, error.hint)
            return error.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return error.exit_code
        except click.ClickException as error:
            place = getattr(error, "ctx", None)
            name = place.command_path if isinstance(place, click.Context) else prog_name
            _complain(error.format_message(), f"see '{name} --help'")
            return error.exit_code
        except (click.Abort, EOFError, KeyboardInterrupt):
            _complain("interrupted", None)
            return INTERRUPTED
        except BrokenPipeError:
            raise
        except OSError as error:
            # A full or vanished disk: no fault of the program, so no traceback.
            if error.filename is None and error.errno not in DISK:
                raise
            where = "the disk" if error.filename is None else error.filename
            _complain(f"{where}: {error.strerror or error}", None)
            return HarnessError.exit_code
        return 0


def _complain(message: str, hint: str | None) -> None:
    from harness.cli.output import echo

    echo(f"error: {message}", err=True)
    if hint:
        echo(f"hint: {hint}", err=True)


@click.group(
    name="harness",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(harness.__version__, prog_name="harness")
def main() -> None:
    """Measure AI inference on accelerators, and map each workload to the one to buy."""
