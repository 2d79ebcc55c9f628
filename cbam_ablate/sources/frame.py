"""Results in a pandas DataFrame, or in a Parquet file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cbam_ablate.errors import ConfigError, DataError
from cbam_ablate.sources.found import Found, Wanted
from cbam_ablate.sources.rows import NAMES, runs_of
from cbam_ablate.sources.text import whole

if TYPE_CHECKING:
    import pandas as pd


def read(path: Path, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs of a Parquet file, and sentences about it. Raises `UserError`; it needs pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            f"{path}: reading Parquet needs pyarrow: pip install 'cbam_ablate[parquet]'"
        ) from None
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: is no Parquet file that can be read ({str(error).splitlines()[0]})"
        ) from None
    columns = {
        name: table.column(name).to_pylist() for name in table.column_names if not name.startswith("__index")
    }
    return _runs(columns, wanted)


def from_frame(frame: "pd.DataFrame", wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs of a DataFrame, long or wide; a named index counts as columns. Raises `UserError`.

    Named columns, as a pivot table has them, are values of the option of that name.
    """
    if not (hasattr(frame, "iloc") and hasattr(frame, "columns")):
        raise ConfigError(
            f"{type(frame).__name__}: needs a DataFrame of pandas, as pd.read_csv or pd.DataFrame give one"
        )
    frame = _unpivoted(frame, wanted)
    if any(name is not None for name in frame.index.names):
        clash = [str(name) for name in frame.index.names if name in frame.columns]
        if clash:
            raise ConfigError(f"{clash[0]}: both a column and in the index of the DataFrame")
        frame = frame.reset_index()
    names = [_name(name) for name in frame.columns]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{twice[0]}: two columns of the DataFrame are called so")
    return _runs({name: frame.iloc[:, index].tolist() for index, name in enumerate(names)}, wanted)


def _unpivoted(frame: "pd.DataFrame", wanted: Wanted) -> "pd.DataFrame":
    name = frame.columns.name
    if frame.columns.nlevels > 1 or not isinstance(name, str) or name.lower() in NAMES:
        return frame
    metric = wanted.metrics[0] if wanted.metrics else "value"
    return frame.melt(var_name=name, value_name=metric, ignore_index=False).dropna(subset=[metric])


def _name(name: Any) -> str:
    """A column's name, the levels of a MultiIndex joined by dots."""
    return ".".join(str(part) for part in name if part != "") if isinstance(name, tuple) else str(name)


def _runs(columns: dict[str, list[Any]], wanted: Wanted) -> tuple[list[Found], list[str]]:
    cleaned = {name: whole([_scalar(value) for value in values]) for name, values in columns.items()}
    rows = [dict(zip(cleaned, row, strict=True)) for row in zip(*cleaned.values(), strict=True)]
    return runs_of(list(cleaned), rows, wanted, [f"row {index}" for index in range(len(rows))])


def _scalar(value: Any) -> Any:
    """A cell as plain Python: NumPy's scalars as their values, missing ones as None, others as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item"):
        try:
            return _scalar(value.item())
        except (TypeError, ValueError):
            return str(value)
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)
