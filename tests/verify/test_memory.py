"""Reading the largest export needs little more memory than the export itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

MOST_MB = 60
"""What docs/wolkvox.md says, doubled."""
PROGRAM = """
import json
from pathlib import Path
from syncd.holdings import read_holdings

def memory(name):
    text = Path("/proc/self/status").read_text()
    return int(text.partition(name + ":")[2].split()[0]) / 1024

fields = {f"tel{n}": "9000000000" for n in range(1, 11)} | {f"opt{n}": "x" * 45 for n in range(1, 13)}
row = json.dumps({"nombre_cliente": "\\u00d1and\\u00fa", **fields}, ensure_ascii=False)[1:].encode()
rows = b",".join(b'{"id_cliente":"c%d",' % number + row for number in range(59_999))
body = b'{"code":"200","records":[' + rows + b"]}"
assert len(body) > 50_000_000
del rows
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before = memory("VmRSS")
found = read_holdings(body, {f"c{number}" for number in range(10_000)}, marker=None, campaign_id="12345")
assert found is not None and found.whole and len(found.by_customer) == 10_000
print(memory("VmHWM") - before)
"""


@pytest.mark.slow
def test_the_largest_export_is_read_in_little_more_memory_than_it_is_itself() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=100)
    assert 1 < float(done.stdout) < MOST_MB
