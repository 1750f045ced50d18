import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import harness
from harness import cli
from harness.cli import group

HEAVY = ("numpy", "pydantic", "yaml", "torch", "onnxruntime", "pandas", "matplotlib", "pyarrow")

COMMAND = """
import click
from harness.errors import *

@click.command()
@click.argument("what")
@click.pass_context
def command(context, what):
    click.echo("result")
    if what == "finding":
        context.exit(1)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "flood":
        for _ in range(100_000):
            click.echo("line")
    if what == "spec":
        raise SpecError.of([
            Problem("a.yaml", 1, 2, "x", "wrong", "do this"),
            Problem("a.yaml", 3, 4, "", "worse"),
        ])
    if what != "fine":
        raise {
            "harness": HarnessError,
            "prerequisite": PrerequisiteError,
            "adapter": AdapterError,
            "store": StoreError,
            "disk": lambda *_, **__: OSError(28, "No space left on device"),
            "file": lambda *_, **__: OSError(13, "Permission denied", "results/x"),
            "measurement": MeasurementError,
        }[what]("it \\x1b[31mfailed", hint="try \\u202eagain")
"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs a command which ends in the way its argument says."""
    module = f"try_command_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(COMMAND)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(group.COMMANDS, "try", (f"{module}:command", "For tests."))
    return lambda *arguments: CliRunner().invoke(cli.main, list(arguments))


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("fine", 0),
        ("finding", 1),
        ("harness", 1),
        ("adapter", 1),
        ("store", 1),
        ("disk", 1),
        ("file", 1),
        ("measurement", 1),
        ("spec", 2),
        ("prerequisite", 3),
        ("interrupt", 130),
    ],
)
def test_exit_status(run, what, status):
    result = run("try", what)
    assert result.exit_code == status
    assert result.stdout == "result\n"
    assert "Traceback" not in result.output
    assert bool(result.stderr) == (what not in ("fine", "finding"))


def test_an_error_and_its_hint_are_escaped(run):
    assert run("try", "adapter").stderr == ("error: it \\x1b[31mfailed\nhint: try \\u202eagain\n")


def test_a_disk_that_refuses_is_told_with_the_file(run):
    assert run("try", "file").stderr == "error: results/x: Permission denied\n"
    assert run("try", "disk").stderr == "error: the disk: No space left on device\n"


def test_every_problem_of_a_specification_is_printed_with_its_hint(run):
    assert run("try", "spec").stderr == (
        "error: a.yaml:1:2: x: wrong\nhint: do this\nerror: a.yaml:3:4: worse\n"
    )


def test_usage_errors(run):
    result = run("lisst")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: unknown command 'lisst'. Did you mean 'list'?\nhint: see 'harness --help'\n"
    )
    result = run("try")
    assert result.exit_code == 2
    assert "hint: see 'harness try --help'" in result.stderr
    assert run("--no-such-option").exit_code == 2


def test_help_and_version(run):
    result = run("--help")
    assert result.exit_code == 0
    for name, (_, line) in group.COMMANDS.items():
        assert f"{name} " in result.stdout
        assert line in result.stdout
    assert run("-h").stdout == result.stdout
    assert run("--version").stdout == f"harness, version {harness.__version__}\n"
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom harness.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", "--help"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(write)
    assert done.stderr == ""
    assert done.returncode == group.READER_GONE


def test_commands_do_not_get_in_the_way_of_each_other(run):
    """A module called `list` becomes an attribute of its package once it is imported."""
    for _ in range(2):
        assert run("list", "meters").exit_code == 0
        assert run("schema", "target").exit_code == 0


def test_completion():
    environment = {**os.environ, "_HARNESS_COMPLETE": "bash_source"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 0
    assert "_HARNESS_COMPLETE" in done.stdout


def test_every_command_of_the_table_can_be_imported():
    context = cli.main.make_context("harness", ["list"], resilient_parsing=True)
    for name in cli.main.list_commands(context):
        command = cli.main.get_command(context, name)
        assert command is not None
        assert command.help, name
