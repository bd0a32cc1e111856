"""The command line: `reactivate ...`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from controller.domain.errors import ConfigurationError, ReactivationError, RunDirectoryError

app = typer.Typer(
    name="reactivate",
    help="Watch, treat and judge lithium-metal cells. Start with `reactivate run` (simulated).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
protocols_app = typer.Typer(help="The recipes: list, show, check.", no_args_is_help=True)
app.add_typer(protocols_app, name="protocols")
hil_app = typer.Typer(help="The simulated cell by itself.", no_args_is_help=True)
app.add_typer(hil_app, name="hil")

EXIT_REFUSED = 2
EXIT_FAULT = 3

RunDir = Annotated[Path, typer.Argument(help="Run directory of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")]
Example = Annotated[
    str | None,
    typer.Option(help="A built-in example: anode-free (default), excess-lithium, li-cu, li-li."),
]


@app.command()
def run(  # noqa: PLR0913, PLR0917 - the options of the command line
    run_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN.toml]", help="None: a built-in example.")
    ] = None,
    example: Example = None,
    cycles: Annotated[
        int | None, typer.Option(min=1, help="Base cycles, instead of cycling.cycles.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the withheld treatments and of the simulated cell.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; an interrupted run there is resumed.")
    ] = None,
    plant: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FACTORY", help="Your own cell behind the simulated cycler."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="All checks and every step; nothing is energised.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cycle a cell, watch it, treat it where it pays.

    Without a file a built-in simulated example runs. An interrupted run goes on with the same
    --out.
    """
    from controller.app.run import RunOptions, dry, start

    options = RunOptions(
        run_file=run_file,
        example=example,
        cycles=cycles,
        seed=seed,
        out=out,
        as_json=as_json,
        plant=plant,
    )
    raise typer.Exit(dry(options) if dry_run else start(options))


@app.command()
def doctor(
    run_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN.toml]", help="None: the built-in example.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory that is meant.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at run file, computer and instruments without writing a setting; say what to do."""
    from controller.app import doctor as body

    raise typer.Exit(body.doctor(run_file, out, as_json=as_json))


@app.command()
def config(example: Example = None) -> None:
    """Print an example run file, commented, to start from."""
    from controller.app.config import EXAMPLES, example_text

    print(example_text(EXAMPLES[0] if example is None else example), end="")


@app.command()
def replay(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Series, spectra or tables of capacities; none: an example."),
    ] = None,
    cell_format: Annotated[
        str | None,
        typer.Option("--format", help="anode-free | excess-lithium | li-cu | li-li | full-cell"),
    ] = None,
    ignore_counters: Annotated[
        bool, typer.Option("--ignore-counters", help="Integrate even where counters exist.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per file and line.")
    ] = False,
) -> None:
    """Analyse measured files of cyclers.

    Charge, Coulombic efficiency with its uncertainty, resistance, and the files' defects.

    Read are Battery Data Format, plain CSV and Parquet, Neware (CSV, .ndax), Arbin (CSV, .xlsx) and
    BioLogic (text, .mpr) series; impedance spectra (columns, BioLogic .mpt); tables of capacities
    by cycle. Extras open .ndax [neware], .mpr [biologic] and .xlsx [arbin].
    """
    from controller.app import replay as body

    raise typer.Exit(
        body.replay(files or [], cell_format, ignore_counters=ignore_counters, as_json=as_json)
    )


@app.command()
def report(run_dir: RunDir) -> None:
    """Write report and BDF file of a run again."""
    from controller.app.run import rewrite_report

    rewrite_report(run_dir)


@app.command()
def emulate(
    instrument: Annotated[str, typer.Argument(help="keithley2450")],
    tcp: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = (
        "127.0.0.1:5025"
    ),
    speed: Annotated[float, typer.Option(help="Seconds of the cell in one wall second.")] = 1.0,
    state: Annotated[
        Path | None, typer.Option(help="Keeps instrument and cell over a restart.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the cell and the noise.")] = 1,
    preset: Annotated[
        str | None, typer.Option(help="Which of our simulated cells [anode-free].")
    ] = None,
    plant: Annotated[
        str | None, typer.Option(metavar="MODULE:FACTORY", help="Your own cell instead.")
    ] = None,
) -> None:
    """Emulate an instrument with a cell, for tests.

    The instrument listens on TCP in this process; its thermometer on the next port.
    """
    from controller.app.emulate import serve_instrument

    serve_instrument(
        instrument, tcp=tcp, speed=speed, state=state, seed=seed, preset=preset, plant=plant
    )


@app.command()
def stop(run_dir: RunDir) -> None:
    """Rest the cell and stop the run (it can be resumed)."""
    _order(run_dir, "stop")


@app.command()
def pause(run_dir: RunDir) -> None:
    """Hold the cell at zero current until `resume`."""
    _order(run_dir, "pause")


@app.command()
def resume(run_dir: RunDir) -> None:
    """Let a paused run go on."""
    _order(run_dir, "resume")


@app.command()
def acknowledge(
    run_dir: RunDir,
    cause: Annotated[str, typer.Option(help="What caused the fault and why it is gone.")],
    name: Annotated[str, typer.Option(help="Who says so.")],
) -> None:
    """Clear a latched fault whose condition is gone.

    It is examined when `reactivate run --out RUN_DIR` goes on.
    """
    _order(run_dir, "acknowledge", cause=cause, name=name)


def _order(run_dir: Path, word: str, *, cause: str = "", name: str = "") -> None:
    from controller.app.orders import give

    print(give(run_dir, word, cause=cause, name=name))


@hil_app.callback()
def hil() -> None:
    """Try the simulated cell by itself, without instrument and controller."""


@hil_app.command("effects")
def hil_effects(
    only: Annotated[
        list[str] | None, typer.Option(help="E1 to E15 or N1 to N4; may be given again.")
    ] = None,
    draws: Annotated[
        int, typer.Option(min=0, max=10_000, help="Cells drawn over the assumed ranges, an effect.")
    ] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Folder for a figure of the gain swept 0.5 to 2 times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which published effects the simulated cell reproduces, and what breaks each."""
    from controller.app.effects_cli import effects

    raise typer.Exit(effects(only or [], draws=draws, as_json=as_json, plot=plot))


@protocols_app.command("list")
def protocols_list() -> None:
    """List the recipes: what each is for, where it is allowed, on what evidence."""
    from controller.app import protocols_cli

    raise typer.Exit(protocols_cli.list_protocols())


@protocols_app.command("show")
def protocols_show(name: Annotated[str, typer.Argument(help="Recipe, or a TOML file.")]) -> None:
    """Show one recipe: evidence, parameters with ranges, steps in words."""
    from controller.app import protocols_cli

    raise typer.Exit(protocols_cli.show(name))


@protocols_app.command("check")
def protocols_check(
    name: Annotated[str, typer.Argument(help="Recipe, or a TOML file.")],
    run_file: Annotated[
        Path | None, typer.Option("--run", help="Run file; none: a built-in example.")
    ] = None,
    example: Example = None,
) -> None:
    """Check a recipe against the cell, limits and cycler of a run file or an example."""
    from controller.app import protocols_cli
    from controller.app.config import load_run
    from controller.app.prepare import CAPABILITIES

    config = load_run(run_file, example=example)
    raise typer.Exit(
        protocols_cli.check_protocol(
            name,
            config.cell,
            config.limits,
            CAPABILITIES[config.file.cycler.driver],
            config.file.temperature.source,
        )
    )


def main() -> None:
    """Entry point: known errors become one message and exit code 2, never a traceback."""
    try:
        app()
    except (ConfigurationError, RunDirectoryError) as error:
        _say(error)
        sys.exit(EXIT_REFUSED)
    except ReactivationError as error:
        _say(error)
        sys.exit(EXIT_FAULT)


def _say(error: Exception) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"reactivate: {error}", markup=False
    )
