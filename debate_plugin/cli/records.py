"""What a store holds: runs, records, and passing them on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from debate_plugin.cli.options import as_json, run_name, store
from debate_plugin.errors import InputError, RunError
from debate_plugin.progress import bar


@click.command()
@store
@as_json
def runs(store_place: str, as_json: bool) -> None:
    """List the runs that a store holds."""
    from debate_plugin.store import Store

    with Store.open(store_place, create=False) as opened:
        found = opened.runs()
    if as_json:
        click.echo(json.dumps([asdict(run) for run in found]))
        return
    table = Table()
    for head in ("run", "debates", "conversations", "unfinished"):
        table.add_column(head, justify="left" if head == "run" else "right")
    for run in found:
        table.add_row(escape(run.name), str(run.debates), str(run.conversations), str(run.unfinished))
    Console().print(table)


@click.command()
@click.argument("id", required=False)
@store
@click.option("--row", "row", help="FILE:NUMBER; show the record that this row of a data set came from.")
@run_name
@as_json
def show(id: str | None, store_place: str, row: str | None, run_name: str | None, as_json: bool) -> None:
    """Print the record of an ID, or what begins like it; without one, list the records."""
    from debate_plugin.dataset.provenance import provenance_at
    from debate_plugin.printed import printed
    from debate_plugin.record import written
    from debate_plugin.store import Store

    if row is not None:
        if id is not None:
            raise InputError("expected an ID or --row, got both; drop one of them")
        origin = provenance_at(row)
        id = origin["transcript"]
        if not as_json:
            click.echo(f"{row}: {json.dumps(origin)}\n")
    with Store.open(store_place, create=False) as opened:
        if id is None:
            _list(opened, run_name, as_json)
            return
        record = opened.get(id)
    click.echo(written(record) if as_json else printed(record))


@click.command()
@click.argument("id")
@store
@click.option(
    "--in", "folder", type=Path, default=".", show_default=True, help="Folder with the adapters and row files."
)
@as_json
def lineage(id: str, store_place: str, folder: Path, as_json: bool) -> None:
    """Trace the record of an ID back: which adapters spoke, what they learnt from, who spoke there."""
    from debate_plugin.ancestry import ancestry
    from debate_plugin.store import Store

    with Store.open(store_place, create=False) as opened:
        record = opened.get(id)
        traced = ancestry(record, opened, folder)
    if as_json:
        click.echo(TypeAdapter(type(traced)).dump_json(traced).decode())
        return
    click.echo(f"{record.id}, run {record.run}")
    _print_speakers(traced.speakers)
    for ancestor in traced.ancestors:
        click.echo(f"\nadapter {ancestor.sha256[:12]} {ancestor.folder or f'is not in {folder}'}")
        if (made := ancestor.lineage) is None:
            continue
        data = made.data
        rules = ", ".join(f"{rule} {count}" for rule, count in data.rules.items())
        origin = ancestor.rows or f"{data.name}, which is not there"
        click.echo(f"  {made.method} on {data.rows} rows of {origin} ({rules})")
        parent = f", from adapter {made.parent.sha256[:12]}" if made.parent is not None else ""
        click.echo(f"  on base {made.base.name}{parent}")
        if ancestor.lost:
            click.echo(f"  {ancestor.lost} debates of its rows are not in {store_place}")
        _print_speakers(ancestor.speakers)


def _print_speakers(speakers: Any) -> None:
    for one in speakers:
        with_adapter = f" with adapter {one.adapter} ({one.sha256[:12]})" if one.sha256 is not None else ""
        debates = "1 debate" if one.debates == 1 else f"{one.debates} debates"
        click.echo(f"  {', '.join(one.names)}: {one.model or 'a model without a name'}{with_adapter}, in {debates}")


def _list(opened: Any, run_name: str | None, as_json: bool) -> None:
    from debate_plugin.printed import summary
    from debate_plugin.record import Unreadable

    for kind in ("debate", "conversation"):
        for record in opened.records(kind, run=run_name):
            said = record.reason if isinstance(record, Unreadable) else summary(record)
            run = None if isinstance(record, Unreadable) else record.run
            if as_json:
                click.echo(json.dumps({"id": record.id, "kind": kind, "run": run, "summary": said}))
            else:
                click.echo(f"{record.id}  {kind}  {run or 'unreadable'}  {said}")


@click.command()
@click.option("--out", type=Path, required=True, help="JSONL file to write, one record a line.")
@store
@run_name
@as_json
def export(out: Path, store_place: str, run_name: str | None, as_json: bool) -> None:
    """Write a store's records to a file."""
    from debate_plugin.archive import export_records
    from debate_plugin.store import Store

    with Store.open(store_place, create=False) as opened, bar("Exporting", None) as advance:
        count = export_records(opened, out, run=run_name, progress=advance)
    click.echo(json.dumps({"records": count}) if as_json else f"{count} records in {out}")


@click.command(name="import")
@click.argument("file", type=Path)
@store
@as_json
def import_(file: Path, store_place: str, as_json: bool) -> None:
    """Add the records of a FILE to a store; lines that are none are told of and skipped."""
    from debate_plugin.archive import import_records
    from debate_plugin.store import Store

    with Store.open(store_place) as opened, bar("Importing", None) as advance:
        taken = import_records(opened, file, progress=advance)
    if as_json:
        click.echo(json.dumps(asdict(taken)))
    else:
        click.echo(f"{taken.added} records added, {taken.there_already} were there already")
        for number, reason in taken.unreadable:
            click.echo(f"line {number}: {reason}", err=True)
    if taken.unreadable:
        raise RunError(f"{len(taken.unreadable)} lines of {file} are no records; the rest was taken")
