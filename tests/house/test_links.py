"""Every relative link, and every file of the repository that a document names, exists."""

from urllib.parse import unquote

import pytest
from documents import ROOT, anchors, documents, links, name_of, repository_paths

DOCUMENTS = documents()


def test_documents_are_found():
    names = {name_of(path) for path in DOCUMENTS}
    assert {"README.md", "docs/privacy.md", "docs/decisions/README.md"} <= names


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in links(text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / unquote(name)).resolve() if name else path
        assert there.exists(), f"{target} leads nowhere"
        assert there.is_relative_to(ROOT), f"{target} leaves the repository"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{target} names no heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_named_files_exist(path):
    for name in repository_paths(path.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), f"{name} does not exist"


def test_readme_leads_to_every_page():
    reached = {
        (ROOT / target).resolve() for target in links((ROOT / "README.md").read_text()) if "#" not in target
    }
    pages = set((ROOT / "docs").glob("*.md")) | set(ROOT.glob("*.md"))
    assert pages - {ROOT / "README.md"} <= reached


def test_decisions_are_listed_and_numbered_without_a_gap():
    folder = ROOT / "docs" / "decisions"
    files = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name[:4] for name in files] == [f"{n:04d}" for n in range(1, len(files) + 1)]
    assert sorted(t for t in links((folder / "README.md").read_text()) if t[0].isdigit()) == files


def test_the_helpers_find_what_is_there():
    text = "# A title, *here*\n[x](a.md#b) `[y](c.md)` `docs/z.md`\n```sh\n[w](d.md)\n```\n"
    assert links(text) == ["a.md#b"]
    assert anchors(text) == {"a-title-here"}
    assert repository_paths(text) == ["docs/z.md"]


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if p.parent == ROOT / "docs"], ids=name_of)
def test_pages_stay_short(path):
    # The reference of all fields is looked things up in, not read, and is made from the code.
    limit = 400 if path.name == "configuration.md" else 200
    assert len(path.read_text(encoding="utf-8").splitlines()) < limit
