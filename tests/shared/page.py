"""A report as a reader and as a browser take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        text: what is shown, by section heading, the drawings left out.
        tags: how often each element occurs.
        attributes: every (element, attribute, value).
        ids: how often each id occurs.
        unclosed: elements that were opened and not closed, or closed out of order.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: dict[str, str] = {"": ""}
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: Counter[str] = Counter()
        self.unclosed: list[str] = []
        self._open: list[str] = []
        self._heading = ""
        self.feed(html)
        self.unclosed += self._open

    @classmethod
    def read(cls, path: Path) -> Page:
        return cls(path.read_text())

    def values(self, attribute: str) -> Iterator[str]:
        """The values of an attribute wherever it occurs."""
        return (value for _, name, value in self.attributes if name == attribute)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "h3":
            self._heading = ""
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids[value or ""] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.unclosed.append(f"/{tag}")

        if tag in ("td", "th", "dt", "strong", "span"):
            self.text[self._heading] = self.text.get(self._heading, "") + " "

    def handle_data(self, data: str) -> None:
        if "svg" in self._open or "style" in self._open:
            return
        if "h3" in self._open:
            self._heading += data
            self.text.setdefault(self._heading, "")
        else:
            self.text[self._heading] = self.text.get(self._heading, "") + data
