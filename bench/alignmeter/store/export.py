"""The rows of a store in a table of PostgreSQL, each once however often they are sent."""

__all__ = ["Exported", "export", "table_sql"]

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from alignmeter.errors import InputError
from alignmeter.records.documents import DOCUMENT, ID, OTHERS, STORE_FILE, open_part, parts_of
from alignmeter.store.compact import Compacted, new_rows
from alignmeter.store.rows import SCHEMA, table_of
from alignmeter.text import shortened

TABLE = "alignmeter_records"
_BATCH = 5_000
"""Rows of a transaction: what a killed export has to send again."""
_SAID = 160
"""Characters of the server's own words in a sentence."""


class Exported(NamedTuple):
    """``sent``: rows; ``new``: those that the table did not have; ``refused``: see `Compacted`."""

    sent: int
    new: int
    refused: list[str]


def sql_type(column: "pa.Field[Any]") -> str:
    """The type of a column there; the document is ``json``, which keeps its text as it is."""
    if column.name == DOCUMENT:
        return "json"
    if pa.types.is_list(column.type):
        return "double precision[]"
    if pa.types.is_integer(column.type):
        return "bigint"
    return "double precision" if pa.types.is_floating(column.type) else "text"


def table_sql() -> list[str]:
    """Statements that make the table, and add what columns an older version's lacks."""
    added = [f'ADD COLUMN IF NOT EXISTS "{field.name}" {sql_type(field)}' for field in SCHEMA]
    return [
        f'CREATE TABLE IF NOT EXISTS {TABLE} ("{ID}" text PRIMARY KEY)',
        f"ALTER TABLE {TABLE} {', '.join(added)}",
        f"CREATE INDEX IF NOT EXISTS {TABLE}_cell_started ON {TABLE} (cell_id, started)",
    ]


def export(source: Path, url: str) -> Exported:
    """Send every record below ``source``, folders or a store, to the server at ``url``.

    Raises `InputError` if psycopg is missing, ``source`` holds no records, or the server cannot be
    reached or refuses.
    """
    try:
        import psycopg
    except ImportError as error:
        raise InputError("store export needs psycopg: pip install 'alignmeter[lab]'") from error
    done = Compacted()
    sent = new = 0
    try:
        with psycopg.connect(url) as server:
            for statement in table_sql():
                server.execute(statement)
            _compress_quickly(server)
            server.commit()
            for table in _tables(source, done):
                new += _copy(server, table)
                sent += table.num_rows
    except psycopg.Error as error:
        said = shortened(" ".join(str(error).split()), _SAID)
        raise InputError(f"PostgreSQL: {said}; give a URL of a table's owner") from error
    return Exported(sent, new, done.refused)


def _compress_quickly(server: Any) -> None:
    """Compressing documents by PostgreSQL's own method is half of what the server has to do."""
    kinds = server.execute(
        "SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'"
    ).fetchone()
    if kinds is not None and "lz4" in kinds[0]:  # from version 14 on, where it was built so
        server.execute(f'ALTER TABLE {TABLE} ALTER COLUMN "{DOCUMENT}" SET COMPRESSION lz4')


def _tables(source: Path, done: Compacted) -> Iterator[pa.Table]:
    """Rows as they are in a store's parts, or as they would be."""
    if (source / STORE_FILE).exists():
        for part in parts_of(source):
            if part.parent.name != OTHERS:
                # An earlier version's part lacks some, and a part has more than go out.
                with open_part(part) as file:
                    for batch in file.iter_batches(_BATCH, columns=SCHEMA.names):
                        yield pa.Table.from_batches([batch])
        return
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give a store, or one that holds runs")
    waiting = (row for row in new_rows(source, (), done) if row.record is not None)
    while rows := list(islice(waiting, _BATCH)):
        yield table_of(rows, 0)


def _copy(server: Any, table: pa.Table) -> int:
    """Send the rows that are not there; returns how many. Nobody else writes meanwhile, so none of
    them can be there twice, and none has to go through another table.
    """
    names = ", ".join(f'"{name}"' for name in table.column_names)
    with server.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            f'SELECT "{ID}" FROM {TABLE} WHERE "{ID}" = ANY(%s)',  # noqa: S608 - own names
            [table.column(ID).to_pylist()],
        )
        there = {row[0] for row in cursor.fetchall()}
        missing = [name not in there for name in table.column(ID).to_pylist()]
        fresh = table.filter(pa.array(missing))
        if fresh.num_rows:
            with cursor.copy(f"COPY {TABLE} ({names}) FROM STDIN (FORMAT csv)") as copy:
                copy.write(_csv(fresh))
    server.commit()
    return fresh.num_rows


def _csv(table: pa.Table) -> bytes:
    """Without a header; nothing between two commas is NULL, and an empty text is quoted."""
    columns = [_text(table.column(field.name), field) for field in table.schema]
    file = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False)
    pyarrow.csv.write_csv(pa.table(columns, names=table.column_names), file, options)
    return file.getvalue()


def _text(column: Any, field: "pa.Field[Any]") -> Any:
    if pa.types.is_list(field.type):
        listed = pc.cast(column, pa.list_(pa.string()))
        joined: Any = pc.binary_join(listed, ",")
        return pc.binary_join_element_wise("{", joined, "}", "")
    if pa.types.is_binary(field.type):
        return pc.cast(column, pa.string())
    if pa.types.is_string(field.type):
        return pc.replace_substring(column, "\0", "")  # PostgreSQL's text has none
    return column
