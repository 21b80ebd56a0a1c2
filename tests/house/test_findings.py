"""The page of findings says what the stored results say, to the digit."""

import subprocess
import sys

from program import ROOT


def test_every_table_of_the_findings_is_made_from_the_stored_results():
    done = subprocess.run(
        [sys.executable, "benchmarks/findings.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "up to date" in done.stdout
