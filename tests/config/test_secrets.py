"""Where the secrets are looked for, and what is said where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd.config import read_secret
from syncd.errors import ConfigError

KEY = "wolkvox.token_file"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration file, beside which secrets may lie."""
    return tmp_path / "config.toml"


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """What systemd's LoadCredential would give."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    return folder


def fault(config: Path, named: str, environ: dict[str, str] | None = None) -> str:
    """What is said of a secret, less the file and the key, which each sentence begins with."""
    with pytest.raises(ConfigError) as caught:
        read_secret(Path(named), config, KEY, environ or {})
    (sentence,) = caught.value.problems
    beginning = f'{config}: {KEY} = "{named}": '
    assert sentence.startswith(beginning)
    return sentence.removeprefix(beginning)


@pytest.mark.parametrize("content", [b"s3cret", b"s3cret\n", b"s3cret\r\n", b"  s3cret \n\n"])
def test_a_secret_is_what_stands_on_the_one_line(config: Path, content: bytes) -> None:
    (config.parent / "token").write_bytes(content)
    assert read_secret(Path("token"), config, KEY, {}) == "s3cret"


def test_a_relative_one_is_looked_up_among_the_credentials_first_then_beside_the_file(
    config: Path, credentials: Path
) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    (config.parent / "token").write_text("beside")
    assert read_secret(Path("token"), config, KEY, environ) == "beside"
    (credentials / "token").write_text("credential")
    assert read_secret(Path("token"), config, KEY, environ) == "credential"
    assert read_secret(Path("token"), config, KEY, {}) == "beside"


def test_an_absolute_one_is_that_file_alone(config: Path, credentials: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("absolute")
    (credentials / "token").write_text("credential")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert read_secret(tmp_path / "token", config, KEY, environ) == "absolute"


def test_a_missing_one_says_every_place_where_it_was_looked_for(config: Path, credentials: Path) -> None:
    assert fault(config, "token") == f"there is no {config.parent}/token; make the file, readable by syncd"
    assert fault(config, "token", {"CREDENTIALS_DIRECTORY": str(credentials)}) == (
        f"there is no {credentials}/token nor {config.parent}/token; make the file, readable by syncd"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"  \n", b"hunter2\nhunter3\n", b"user: x\npassword: hunter2", b"hunter2\x00", b"hunter2\x1b[0m"],
)
def test_an_empty_one_or_one_of_many_lines_is_refused_and_not_shown(config: Path, content: bytes) -> None:
    (config.parent / "token").write_bytes(content)
    sentence = fault(config, "token")
    assert sentence == f"{config.parent}/token must hold the secret on one line, and nothing else"
    assert "hunter" not in sentence


def test_what_is_no_text_is_refused(config: Path) -> None:
    (config.parent / "token").write_bytes(b"\xff\xfe\x00s")
    assert fault(config, "token") == f"{config.parent}/token is not text"


def test_what_is_too_long_is_not_read(config: Path) -> None:
    (config.parent / "token").write_text("x" * 70_000)
    assert fault(config, "token") == f"{config.parent}/token is too long to be a secret"


def test_a_folder_is_no_secret(config: Path) -> None:
    (config.parent / "token").mkdir()
    assert fault(config, "token") == f"{config.parent}/token cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_one_that_may_not_be_read_is_said(config: Path) -> None:
    folder = config.parent / "closed"
    folder.mkdir()
    (folder / "token").write_text("s3cret")
    (folder / "token").chmod(0)
    assert fault(config, "closed/token") == f"{folder}/token cannot be read: Permission denied"
    folder.chmod(0)
    sentence = fault(config, "closed/token")  # whether it is there cannot be told
    folder.chmod(0o700)
    assert sentence == f"there is no {folder}/token; make the file, readable by syncd"
