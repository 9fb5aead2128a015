"""The commands of README.md and docs/*.md: their options exist, and they run on small data.

A page's commands run in their order in a folder laid out as the page says, but for those that
``PARSED`` and ``ELSEWHERE`` name. What would take hours is made small by ``BENT``; nothing else is
changed. A page or a kind of command that this file does not know fails it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from page_layouts import LAYOUTS, small
from typer.testing import CliRunner

from sodkit.cli.main import COMMANDS, make_app
from sodkit.config import builtin_names, load_recipe

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

BENT = {
    "train": ["--epochs", "1", "--workers", "0", "--device", "cpu"],
    "split": ["--size", "64", "--stride", "48"],
    "predict": ["--device", "cpu", "--size", "112", "--stride", "96"],
    "analyze-proposals": ["--device", "cpu"],
}
"""What is added to a command so that it ends in seconds; to a training also ``small``."""
PARSED = {
    "sodkit analyze-anchors train.json --recipe": "anchors.md and systems.md run it",
    "sodkit analyze-anchors cars": "the same",
    "sodkit demo": "takes minutes; tests/test_demo.py runs it on less",
    "sodkit export": "takes 10 s; tests/cli/test_export_command.py runs it",
    "sodkit train --resume": "needs a run that was stopped; tests/engine/test_run.py resumes some",
}
"""Commands of which only the options are looked up, by how they begin, and why."""
ELSEWHERE = {
    "sodkit import-weights released.pth --out cfinet.safetensors": "released-weights.md",
    "sodkit analyze-anchors train.json --out anchors --suggest": "anchors.md",
}
"""Commands of several pages, and the page with which they run."""
MEANT = {
    "RECIPE": "cfinet-r50-soda-d",
    "SETTINGS": "--set model.imitation=null",
    "ROW": "crpn",
    "FORMAT": "yolo",
    "FILE": "file",
    "RUN": "run",
}
"""What stands for words in capitals that a reader replaces."""
NOT_RUN = ("pip install", ".venv/bin/", "make ", "time make ", "pytest")
"""Commands of other programs: only what they name is looked up."""


@dataclass(frozen=True)
class Command:
    """A command of a page, and whether it stands in a block (else within a sentence)."""

    page: str
    text: str
    block: bool
    again: bool = False
    """Repeats another one in a loop, so it is not run."""

    @property
    def runs(self) -> bool:
        """It is run, with its page."""
        plain = self.text.partition("#")[0].strip()
        return (
            self.block
            and self.program == "sodkit"
            and not self.again
            and not self.text.startswith(tuple(PARSED))
            and ELSEWHERE.get(plain, self.page) == self.page
        )

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def program(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return f"{self.page}: {self.text[:60]}"


def commands_of(page: Path) -> list[Command]:
    """Return a page's commands: first those of its blocks, then those within sentences."""
    text = page.read_text("utf-8")
    labelled = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    fences = [content for label, content in labelled if not label]
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    known = ("sodkit ", "python ", "make ", "time make ", "pytest ", "pip ", "for ")
    found = []
    for fence in fences:
        joined = re.sub(r"\\\n\s*", "", fence)
        lines = [line for line in joined.splitlines() if line.strip()]
        if lines[0].startswith(known):
            found += [Command(page.name, *line) for line in _unrolled(lines)]
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest))
    return found + [Command(page.name, span, False) for span in spans if span.startswith(known)]


def _unrolled(lines: list[str]) -> list[tuple[str, bool, bool]]:
    """Repeat the lines of ``for NAME in A B; do`` ... ``done`` for each word."""
    out: list[tuple[str, bool, bool]] = []
    name, words, body = "", [""], list[str]()
    for line in lines:
        if loop := re.fullmatch(r"for (\w+) in (.*); do", line):
            name, words, body = loop[1], loop[2].split(), []
        elif line == "done":
            for word in words:
                said = (one.replace(f"${name}", word) for one in body)
                out += [(one, True, word != words[0]) for one in said]
            name = ""
        elif name:
            body.append(line.strip())
        else:
            out.append((line.strip(), True, False))
    return out


EVERY = [command for page in PAGES for command in commands_of(page)]
HELP = [
    Command(f"sodkit {name} --help", example, False)
    for name, function in COMMANDS
    for example in re.findall(r"(sodkit [a-z-]+ .*--.*)", function.__doc__ or "")
]


def replaced(text: str) -> str:
    return re.sub(r"\b[A-Z]{3,}\b", lambda word: MEANT.get(word[0], word[0]), text)


def test_commands_are_found() -> None:
    """Of each kind as many as there were at least, so that none is overlooked."""
    blocks = [command.text for command in EVERY if command.block]
    assert sum(text.startswith("sodkit ") for text in blocks) >= 70
    assert sum(text.startswith("python ") for text in blocks) >= 4
    assert len(EVERY) - len(blocks) >= 10
    assert len(HELP) >= 9
    for command in EVERY:
        known = command.program in ("sodkit", "python") or command.text.startswith(NOT_RUN)
        assert known, command


def test_no_command_hides_in_another_block() -> None:
    """Such as one with a label, or whose first line is of another program."""
    found = {(c.page, c.text.split()[1]) for c in EVERY if c.block and c.program == "sodkit"}
    for page in PAGES:
        for fence in re.findall(r"^```\w*$(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.M):
            for name in re.findall(r"^\s*sodkit ([a-z-]+)", fence, re.MULTILINE):
                assert (page.name, name) in found, f"{page.name}: sodkit {name}"


@cache
def parsers() -> dict[str, Any]:
    """Return typer's reading of the commands."""
    found: dict[str, Any] = vars(typer.main.get_command(make_app()))["commands"]
    return found


@pytest.mark.parametrize("command", [c for c in (*EVERY, *HELP) if c.program == "sodkit"], ids=str)
def test_options_exist(command: Command) -> None:
    """Also of a command within a sentence, which may leave arguments out."""
    words = shlex.split(replaced(command.text), comments=True)[1:]
    if words == ["COMMAND", "--help"]:
        return
    name, *arguments = words
    made = parsers()[name].make_context(name, arguments, resilient_parsing=not command.block)
    overrides = made.params.get("overrides") or ()
    recipe = made.params.get("recipe") or "cfinet-r50-soda-a"
    if name == "train" and overrides:
        assert recipe in builtin_names()
        load_recipe(recipe, overrides)


class _ParsedError(Exception):
    """Carries a script's parsed options."""


SCRIPTS = [c for c in EVERY if c.program == "python" and c.words[1] != "-m"]
MODULES = {"venv", "build", "tests.fuzz"}


@pytest.mark.parametrize("command", SCRIPTS, ids=str)
def test_scripts_take_their_options(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks take hours: their options are parsed, an ablation's recipes are made."""
    script = ROOT / command.words[1]
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.setitem(sys.modules, script.stem, module)
    spec.loader.exec_module(module)
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser) -> None:
        raise _ParsedError(parse(parser))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", command.words[1:])
    with pytest.raises(_ParsedError) as parsed:
        module.main()
    if script.stem == "ablation":
        options = parsed.value.args[0]
        for variant in options.variants:
            assert module._recipe(options, variant, 0).schedule.epochs == options.epochs


def test_modules_that_are_run_exist() -> None:
    """``build`` is the only one that development needs and the tests do not install."""
    named = {c.words[2] for c in EVERY if c.program == "python" and c.words[1] == "-m"}
    assert named <= MODULES
    for name in named - {"build"}:
        assert importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("command", [c for c in EVERY if c.text.startswith(NOT_RUN)], ids=str)
def test_targets_and_folders_exist(command: Command) -> None:
    words = command.words[1:] if command.program == "time" else command.words
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    if words[0] != "pytest":
        return
    conftest = (ROOT / "tests" / "conftest.py").read_text("utf-8")
    for word in words[1 : words.index("-k") if "-k" in words else None]:
        if word[0] == "-":
            assert word in conftest or word in {"-x", "-n"}
        else:
            assert word.isdecimal() or (ROOT / word).exists()  # the number of processes, or a path


def run(command: Command) -> Any:
    words = shlex.split(replaced(command.text), comments=True)[1:]
    bent = [*words, *BENT.get(words[0], [])]
    if words[0] == "train":
        bent += [part for value in small(words[1]) for part in ("--set", value)]
    return CliRunner().invoke(make_app(), bent)


def test_every_page_with_commands_runs() -> None:
    assert {c.page for c in EVERY if c.runs} == set(LAYOUTS)
    for text, page in ELSEWHERE.items():
        assert any(c.page == page and c.text.startswith(text) and c.runs for c in EVERY), text
    for start in PARSED:
        assert any(c.text.startswith(start) for c in EVERY), start


@pytest.mark.parametrize("page", LAYOUTS)
def test_page_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS[page](tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in EVERY:
        if command.page == page and command.runs:
            result = run(command)
            assert result.exit_code == 0, f"{command.text}\n{result.output}\n{result.exception!r}"
