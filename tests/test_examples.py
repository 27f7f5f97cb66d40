"""Every example runs offline, as its first lines say; so does the debate in the README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(program: Path, folder: Path) -> str:
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=folder, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    assert f"python examples/{example.name}" in example.read_text(encoding="utf-8")
    assert run(example, tmp_path).strip()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_the_readmes_debate_runs_as_pasted(tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    pasted = tmp_path / "pasted.py"
    pasted.write_text(programs[0])
    assert len([line for line in programs[0].splitlines() if line.strip()]) <= 15
    shown = run(pasted, tmp_path)
    assert "Vote after round 2" in shown
