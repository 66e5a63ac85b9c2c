"""Finding, reading and checking the configuration file; every mistake with its line and its mend."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from seismolog.config.lines import Location, key_lines, line_of
from seismolog.config.models import Config, Detect
from seismolog.errors import ConfigError

__all__ = ["VARIABLE", "find", "load", "parse"]

#: The environment variable that names the file.
VARIABLE = "SEISMOLOG_CONFIG"

_PLACES = (Path("site.toml"), Path("/etc/seismolog/site.toml"))


def find(
    named: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The configuration file that counts, None where there is none.

    Named, else of ``$SEISMOLOG_CONFIG``, else ``./site.toml``, else ``/etc/seismolog/site.toml``.

    A file that was named, here or by the environment, must exist; :func:`load` says so if it does not.
    """
    if named is not None:
        return Path(named)
    variable = (os.environ if environ is None else environ).get(VARIABLE)
    if variable:
        return Path(variable)
    return next((p for p in _PLACES if p.is_file()), None)


def load(named: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration, checked; the defaults where there is no file.

    Raises
    ------
    ConfigError
        The file cannot be read, is no TOML, or holds something that cannot be used.
    """
    path = find(named, environ)
    if path is None:
        return Config()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration: {error.strerror}",
            file=path,
            mend="name an existing file with --config, or leave it out"
            if named is not None
            else f"correct or unset {VARIABLE}",
        ) from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8", file=path, line=line, mend="save the file as UTF-8") from error
    return parse(text, path)


def parse(text: str, path: Path | None = None) -> Config:
    """The configuration that a text holds; `path` is its file, for errors and relative paths."""
    shown = path if path is not None else "configuration"
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)|\(at end of document\)", str(error))
        line = int(place[1]) if place and place[1] else (text.count("\n") + 1 if place else None)
        message = str(error).split(" (at ")[0]
        raise ConfigError(
            f"no TOML: {message}", file=shown, line=line, mend=_toml_mend(text, line)
        ) from error
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise _config_error(error, key_lines(text), shown) from error
    config._file = None if path is None else path.absolute()
    return config


def _toml_mend(text: str, line: int | None) -> str:
    content = text.splitlines()[line - 1] if line and line <= text.count("\n") + 1 and text else ""
    if re.match(r"^\s*[\w.-]+\s*=\s*[A-Za-z/][^\"']*$", content) and not re.search(
        r"=\s*(true|false)\s*$", content
    ):
        return 'put the value between quotation marks: key = "value"'
    if re.match(r"^\s*[\w-]+\s*:", content):
        return "write key = value, not key: value"
    return "see https://toml.io for how TOML is written"


def _config_error(error: ValidationError, lines: dict[Location, int], file: Path | str) -> ConfigError:
    """All mistakes as one error: the first in full, the others as further lines of it."""
    mistakes = [_mistake(dict(e), lines, file) for e in error.errors(include_url=False)]
    mistakes.sort(key=lambda m: m.line or 0)
    first, rest = mistakes[0], mistakes[1:]
    if rest:
        first.further = tuple(rest)
    return first


def _mistake(error: dict[str, Any], lines: dict[Location, int], file: Path | str) -> ConfigError:
    location: Location = tuple(error["loc"])
    while location and location not in lines and not _in_model(location):
        location = location[:-1]  # pydantic adds the branch of a union
    key = _dotted(location)
    line = line_of(lines, location)
    kind = error["type"]
    if kind == "extra_forbidden":
        allowed = _keys_at(location[:-1])
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        section = _dotted(location[:-1])
        elsewhere = [s for s in _sections() if str(location[-1]) in _keys_at((s,))]
        mend = None
        if close:
            mend = f"did you mean {close[0]}?"
        elif elsewhere:
            mend = f"it belongs into [{elsewhere[0]}]"
        return ConfigError(
            "unknown key" if section else "unknown section or key",
            file=file,
            line=line,
            key=key,
            expected=f"one of {', '.join(allowed)}",
            mend=mend or "remove it",
        )
    if kind == "missing":
        return ConfigError(
            "missing", file=file, line=line, key=key, expected="a value", mend=f"add {location[-1]} = …"
        )
    if kind == "value_error":
        expected, _, hint = str(error["ctx"]["error"]).partition("; did you mean ")
        mend = f"did you mean {hint}" if hint else None
        value = error["input"]
        message = f"{value!r} cannot be used"
        if isinstance(value, BaseModel | dict):  # a check over several keys of the section
            message = "these do not fit together"
        return ConfigError(message, file=file, line=line, key=key or None, expected=expected, mend=mend)
    message = str(error["msg"])
    message = message.removeprefix("Input should be ").removeprefix("a valid ")
    names = {
        "string": "a string between quotation marks",
        "integer": "a whole number",
        "number": "a number",
        "list": "a list",
        "boolean": "true or false",
        "dictionary": "a section",
    }
    expected = names.get(message, message)
    if kind == "model_type":
        expected = f"a section [{key}]"
    return ConfigError(f"{error['input']!r} cannot be used", file=file, line=line, key=key, expected=expected)


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _model_at(location: Location) -> type[BaseModel] | None:
    """The model of the section at a location."""
    model: type[BaseModel] | None = Config
    for part in location:
        if isinstance(part, int):
            continue
        if model is None:
            return None
        if part in model.model_fields:
            model = _inner_model(model.model_fields[part].annotation)
        elif model is Detect:
            model = _detector_settings(part)
        else:
            return None
    return model


def _detector_settings(name: str) -> type[BaseModel] | None:
    """The section of a detector; loaded only where a file has one."""
    from seismolog.detect.registry import detector, names

    return detector(name).Settings if name in names() else None


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    for inner in typing.get_args(annotation):
        model = _inner_model(inner)
        if model is not None:
            return model
    return None


def _in_model(location: Location) -> bool:
    """Whether the last part of the location can be a key of the section before it."""
    return isinstance(location[-1], str) and _model_at(location[:-1]) is not None


def _keys_at(location: Location) -> list[str]:
    model = _model_at(location)
    if model is None:
        return []
    if model is Detect:
        from seismolog.detect.registry import names

        return [*model.model_fields, *names()]
    return list(model.model_fields)


def _sections() -> list[str]:
    return list(Config.model_fields)
