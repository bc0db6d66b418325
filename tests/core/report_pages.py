"""What stands on a report, read again from its HTML and its PDF."""

from __future__ import annotations

import io
from html.parser import HTMLParser

import pypdf

from octcube_core.report import Report, html_text, pdf_bytes


class Page(HTMLParser):
    """Texts of an HTML file by the tag around them, and its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.pictures: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "every tag is closed"

    def handle_starttag(self, tag, attributes) -> None:
        if tag == "img":
            self.pictures.append(dict(attributes))
        elif tag != "meta":
            self._open.append(tag)
        self.links += [v or "" for name, v in attributes if name in ("src", "href")]

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        if data.strip() and self._open[-1] != "style":
            self.texts.append((self._open[-1], data.strip()))

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.texts)


def pdf_text(data: bytes) -> str:
    (page,) = pypdf.PdfReader(io.BytesIO(data)).pages  # one, or this fails
    assert [round(float(side)) for side in page.mediabox[2:]] == [595, 842]
    return " ".join(page.extract_text().split())


def pdf_content(data: bytes) -> bytes:
    """Everything that lies in a PDF: its bytes, its text, and its streams decompressed."""
    reader = pypdf.PdfReader(io.BytesIO(data))
    parts = [data, pdf_text(data).encode(), repr(reader.metadata).encode()]
    for number in range(1, int(reader.trailer["/Size"])):
        found = reader.get_object(number)
        parts.append(repr(found).encode())
        if isinstance(found, pypdf.generic.StreamObject) and found.get("/Subtype") != "/Image":
            parts.append(found.get_data())
    return b"\n".join(parts)


def both(report: Report) -> tuple[str, str]:
    return " ".join(Page(html_text(report)).text.split()), pdf_text(pdf_bytes(report))
