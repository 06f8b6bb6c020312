"""From a TOML file to a `Config`, or to every fault of the file at once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from syncd.config.models import Config, Delivery, Sync
from syncd.config.problems import problems_of
from syncd.errors import ConfigError

DEFAULT_PATH = Path("/etc/syncd/config.toml")
_SECRET_LIMIT = 65_536


def config_path(given: str | Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Which file to read: the one given, else ``SYNCD_CONFIG``, else /etc/syncd/config.toml."""
    return Path(given or environ.get("SYNCD_CONFIG") or DEFAULT_PATH)


def load(path: Path) -> Config:
    """Read and check the configuration; no secret is read yet.

    Raises:
        ConfigError: with a sentence for every fault found, each naming file, key, value and rule.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            [f"{path}: there is no such file; give its path with --config, or copy config.example.toml there"]
        ) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        document = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not valid TOML: {error}"]) from None
    except (ValueError, RecursionError):
        raise ConfigError([f"{path}: is not valid TOML: a number is too long, or tables are nested too deep"]) from None
    return parse(document, path)


def parse(document: dict[str, Any], path: Path) -> Config:
    """Check a parsed document; `path` names it in errors.

    Raises:
        ConfigError: as `load` does.
    """
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        sentences = [_sentence(path, document, fault) for fault in error.errors(include_url=False)]
        sentences += _between(path, *_whole_syncs(document))
        raise ConfigError(list(dict.fromkeys(sentences))) from None
    problems = _between(path, config.sync, config.delivery.batch_marker)
    if problems:
        raise ConfigError(problems)
    return config


def _between(path: Path, syncs: Sequence[Sync], marker: str | None) -> list[str]:
    return [
        f"{path}: sync {name!r}: {key}{'' if value in ('', None) else f' = {_shown(value)}'}: {rule}"
        for name, key, value, rule in problems_of(syncs, marker)
    ]


def _whole_syncs(document: Mapping[str, Any]) -> tuple[list[Sync], str | None]:
    """The syncs that are right by themselves, where something else is wrong; and the batch marker."""
    syncs = []
    tables = document.get("sync")
    for table in tables if isinstance(tables, list) else []:
        with suppress(ValidationError):
            syncs.append(Sync.model_validate(table))
    marker = None
    with suppress(ValidationError):
        marker = Delivery.model_validate(document.get("delivery", {})).batch_marker
    return syncs, marker


def read_secret(named: Path, config_file: Path, key: str, environ: Mapping[str, str] = os.environ) -> str:
    """Read a file that holds one secret.

    Args:
        named: the path as configured. A relative one is looked up in ``$CREDENTIALS_DIRECTORY`` (systemd's
            LoadCredential), then beside the configuration file.
        config_file: the configuration file.
        key: the configuration key, for errors.

    Raises:
        ConfigError: where there is no such file, or it is empty, too long or not text.
    """
    places = [config_file.parent / named]
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials and not named.is_absolute():
        places.insert(0, Path(credentials) / named)
    place = next((place for place in places if os.path.exists(place)), None)  # noqa: PTH110  # Path's may raise
    if place is None:
        looked = " nor ".join(str(place) for place in places)
        raise ConfigError([f'{config_file}: {key} = "{named}": there is no {looked}; make the file, readable by syncd'])
    try:
        if place.stat().st_size > _SECRET_LIMIT:
            raise ConfigError([f'{config_file}: {key} = "{named}": {place} is too long to be a secret'])
        secret = place.read_bytes().decode().strip()
    except UnicodeDecodeError:
        raise ConfigError([f'{config_file}: {key} = "{named}": {place} is not text']) from None
    except OSError as error:
        raise ConfigError([f'{config_file}: {key} = "{named}": {place} cannot be read: {error.strerror}']) from None
    if not secret or any(not character.isprintable() for character in secret):
        raise ConfigError(
            [f'{config_file}: {key} = "{named}": {place} must hold the secret on one line, and nothing else']
        )
    return secret


def _sentence(path: Path, document: Mapping[str, Any], fault: Any) -> str:
    # Without the tags of a key that is a text or a table.
    location: Sequence[str | int] = [part for part in fault["loc"] if not str(part).startswith("~")]
    where = _where(document, location)
    kind: str = fault["type"]
    if kind == "extra_forbidden":
        return f"{path}: {where}: unknown key{_nearest(location)}"
    if kind == "missing":
        return f"{path}: {where}: is missing; it has no default"
    rule = _RULES.get(kind) or re.sub(r"^(Value error, |Input should be )", "", fault["msg"])
    if fault["msg"].startswith("Input should be") and kind not in _RULES:
        rule = f"must be {rule}"
    value = fault.get("input")
    if isinstance(value, dict | BaseModel):
        return f"{path}: {where}: {rule}"
    return f"{path}: {where} = {_shown(value)}: {rule}"


_RULES = {
    "string_type": "must be a text, in quotes",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "list_type": 'must be a list, such as ["..."]',
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "path_type": "must be a path, in quotes",
    "too_short": "must have at least one entry",
}
"""The rules that pydantic says in a programmer's words."""


def _where(document: Mapping[str, Any], location: Sequence[str | int]) -> str:
    """The key's path as a person would say it: a [[sync]] by its name."""
    words: list[str] = []
    for part in location:
        if isinstance(part, int) and words == ["sync"]:
            try:
                words = [f"sync {document['sync'][part]['name']!r}"]
            except (KeyError, TypeError, IndexError):
                words = [f"sync number {part + 1}"]
        elif isinstance(part, int):
            words.append(f"[{part}]")
        else:
            words.append(part)
    if words[:1] and words[0].startswith("sync ") and len(words) > 1:
        return f"{words[0]}: {'.'.join(words[1:])}"
    return ".".join(words) or "the file"


def _nearest(location: Sequence[str | int]) -> str:
    """A hint where the unknown key is nearly a known one."""
    model: Any = Config
    in_map = False  # whether the next part is a key that the user chose
    for part in location[:-1]:
        if isinstance(part, int) or in_map:
            in_map = False
            continue
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return ""
        model = model.model_fields[part].annotation
        in_map = get_origin(model) is dict
        while get_args(model):
            models = [a for a in get_args(model) if a not in (type(None), str) and (get_args(a) or isinstance(a, type))]
            model = models[-1] if models else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    keys = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(location[-1]), keys, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    text = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", text)  # a password that somebody left in a URL
    text = re.sub(r"""(password\s*=\s*)('[^']*'|[^&\s"]+)""", r"\1***", text, flags=re.IGNORECASE)  # or beside it
    return text if len(text) <= 80 else text[:77] + "..."
