"""A process's settings: one JSON file, checked by its model; a fault names the field."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fieldloom_runtime.errors import StartFailed

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], path: Path, written_by: str) -> Model:
    """Return the settings of a file; `written_by` is the command that makes it. Raises StartFailed."""
    try:
        return model.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise StartFailed(f"{path} is missing", f"write it by `{written_by}`") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StartFailed(f"{path}: {where}: {first['msg']}", "correct the file") from None
