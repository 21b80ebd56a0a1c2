"""Reads a page as a browser would, and fails where a tag closes what it did not open."""

from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img"}


class Reader(HTMLParser):
    """Reads a page as a browser would: tags with attributes, text, and whether tags close what they open."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.outside, self.tags, self.attributes, self.words = [], [], Counter(), [], []
        self.ids, self.targets = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.note(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.note(tag, attributes)

    def note(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += attributes
        if "svg" not in self.open and tag != "svg":
            self.outside.append((tag, tuple(name for name, _ in attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        self.targets += [value for name, value in attributes if name in ("href", "xlink:href", "src")]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
