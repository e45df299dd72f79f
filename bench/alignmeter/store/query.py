"""SQL over a store, by DuckDB in memory: a `.duckdb` file could not be shared by processes."""

__all__ = ["Answer", "query"]

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

from alignmeter.errors import InputError
from alignmeter.records.documents import OTHERS, parts_of
from alignmeter.store.compact import check_store
from alignmeter.store.rows import COLUMNS
from alignmeter.text import shortened
from alignmeter_reports.table import guarded

_SAID = 160
"""Characters of the database's own words in a sentence."""


class Answer(NamedTuple):
    """Names of the columns, and the rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def csv(self) -> str:
        """With a header; text that a spreadsheet would run as a formula is guarded."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([guarded(value) for value in row] for row in self.rows)
        return file.getvalue()


def query(store: Path, sql: str) -> Answer:
    """The rows that ``sql`` gives, with ``records`` as the store's table.

    Other files of the machine cannot be read or written by it. Raises `InputError` if DuckDB is
    missing, the folder is no store or has no records, or the database refuses the statement.
    """
    try:
        import duckdb
    except ImportError as error:
        raise InputError("store query needs DuckDB: pip install 'alignmeter[lab]'") from error
    parts = [part for part in parts_of(store) if part.parent.name != OTHERS]
    if not parts:
        raise InputError(f"{store}: no records in this store; fill it by alignmeter store compact")
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    listed = "[" + ", ".join("'" + str(part).replace("'", "''") + "'" for part in parts) + "]"
    # Of records at one path, such as those of a replicate measured again, the last stands.
    view = (
        f"CREATE VIEW records AS SELECT {columns} FROM read_parquet({listed}, "  # noqa: S608
        "union_by_name = true, hive_partitioning = true) "
        "QUALIFY row_number() OVER (PARTITION BY path ORDER BY part DESC) = 1"
    )
    with duckdb.connect() as database:
        try:
            for statement in (
                view,
                f"SET allowed_paths = {listed}",
                "SET enable_external_access = false",
                "SET lock_configuration = true",
            ):
                database.execute(statement)
            if not database.extract_statements(sql):
                raise InputError(f"the query is {shortened(sql, _SAID)!r}; give a SELECT")
            found = database.execute(sql)
            if found.description is None:
                return Answer([], [])
            return Answer([column[0] for column in found.description], found.fetchall())
        except duckdb.Error as error:
            check_store(store)  # where a part is broken, it is not the query's fault
            said = shortened(" ".join(str(error).split()), _SAID)
            right = "the columns are in docs/store-columns.md"
            if isinstance(error, duckdb.PermissionException):
                right = "it can read the store's records and no file beside them"
            raise InputError(f"the query: {said}; {right}") from error
