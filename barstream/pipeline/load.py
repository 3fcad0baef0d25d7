"""The declaration of a user, found by its name; the only place that imports foreign code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from barstream.errors import BarstreamError
from barstream.pipeline.default import DEFAULT
from barstream.pipeline.query import Query, QueryError, refuse_what_does_not_run


def load_query(target: str | None, directory: Path | None = None) -> Query:
    """The query that ``module:NAME`` names; None: the one that comes with us.

    Args:
        target: as in the setting ``pipeline``.
        directory: where else to look for the module, after everything that is installed; it
            stays on the path, for what the module imports later.

    Raises:
        QueryError: it cannot be imported, is no query, or one that does not run.
    """
    if target is None:
        return DEFAULT
    module_name, _, name = target.partition(":")
    if directory is not None and str(directory) not in sys.path:
        sys.path.append(str(directory))
    try:
        query = _query(importlib.import_module(module_name), name)
        refuse_what_does_not_run(query)
    except BarstreamError as error:
        raise QueryError(f"the pipeline {target} cannot be used: {error}") from error
    except ModuleNotFoundError as error:
        where = f" nor in {directory}" if directory is not None else ""
        raise QueryError(
            f"the pipeline {target} needs the module {error.name}, which is not installed{where}: "
            "put its file beside the settings file, or install it"
        ) from error
    except Exception as error:
        raise QueryError(
            f"the pipeline {target} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return query


def _query(module: ModuleType, name: str) -> Query:
    found = getattr(module, name, None)
    if isinstance(found, Query):
        return found
    known = [key for key, value in vars(module).items() if isinstance(value, Query)]
    raise QueryError(
        f"a Query is required, found {name} = {found!r}; the queries of {module.__file__} are: "
        f"{', '.join(known) or 'none'}"
    )
