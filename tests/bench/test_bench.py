"""`make bench` works, verifies what it counts, and says the same to people and to machines. Never a time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_quick_bench_verifies_its_runs_and_reports_both_sides(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--leads", "200", "--only", "backfill", "--json", str(found)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "every lead was accepted once" in done.stdout
    for ledger in ("SQLite", "Postgres"):
        assert f"200 leads, {ledger} ledger" in done.stdout
    report = json.loads(found.read_text())
    assert [row for row in report["rows"] if row.get("ratio")], report
    assert "200 records of either side compared and equal" in done.stdout


def test_a_wrong_option_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--leads", "none"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
