"""The project's Markdown files, and what stands in them: code blocks, links, headings, commands."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SKIPPED = {"runs", "node_modules", "dist", "build"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def documents():
    """Every Markdown file of the repository, hidden and generated folders left out."""
    found = []
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(".") or part in _SKIPPED for part in parts):
            found.append(path)
    return found


def name_of(path):
    """A file's name inside the repository, for test ids."""
    return str(path.relative_to(ROOT))


def blocks(text, language):
    """The contents of all fenced blocks of one language."""
    return [body for tag, body in _FENCE.findall(text) if tag == language]


def prose(text):
    """The text without fenced blocks."""
    return _FENCE.sub("", text)


def links(text):
    """Targets of all links outside of code."""
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(text)))


def anchors(text):
    """What a heading is called in a link, by GitHub's rules."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def repository_paths(text):
    """Files and folders of the repository that the prose names in code marks."""
    tops = "ifedpriv|defenses|attacks|docs|configs|tests|benchmarks"
    return [p.rstrip("/") for p in re.findall(rf"`((?:{tops})/[\w./-]*)`", prose(text))]


def commands(text, program):
    """Command lines of ``program``: argument lists, from shell blocks and from code marks."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose(text))
    words = [shlex.split(line, comments=True) for line in lines if line.split()[:1] == [program]]
    return [found[1:] for found in words if found[1:]]
