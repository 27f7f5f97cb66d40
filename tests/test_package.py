"""The package as such: its names, its imports, its layout."""

import ast
import subprocess
import sys
from pathlib import Path

import debate_agents
import debate_plugin

ROOT = Path(__file__).parent.parent
TOP_FLOOR = {"__main__.py"}  # with loops/, cli/ and the making of Abacus: they may import the cast


def test_the_public_names_are_these_and_all_can_be_imported() -> None:
    assert set(debate_plugin.__all__) == set(debate_plugin._HOMES)
    for name in debate_plugin.__all__:
        assert getattr(debate_plugin, name) is not None
    assert all(getattr(debate_agents, name) is not None for name in debate_agents.__all__)


def run_python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'trl', 'peft', 'datasets', 'openai'}"
    program = (
        f"import sys, debate_plugin; debate_plugin.DebateTeam; debate_plugin.Store; print({heavy} & set(sys.modules))"
    )
    assert run_python(program).strip() == "set()"


def test_agents_is_a_source_root_and_no_package() -> None:
    assert not (ROOT / "agents" / "__init__.py").exists()


def test_imports_point_one_way() -> None:
    for path in (ROOT / "debate_plugin").rglob("*.py"):
        inside = path.relative_to(ROOT / "debate_plugin")
        imported = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        may_import_cast = inside.parts[0] in {"loops", "cli", "abacus"} or inside.name in TOP_FLOOR
        assert may_import_cast or not any(name.startswith("debate_agents") for name in imported), inside
        is_top = inside.parts[0] in {"loops", "cli"} or inside.name in TOP_FLOOR
        assert is_top or not any(name.startswith(("debate_plugin.loops", "debate_plugin.cli")) for name in imported), (
            inside
        )
