"""A report as one HTML file: pictures inside, no scripts, one page of A4 when printed."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from io import BytesIO

from PIL import Image

from octcube_core.report.content import MANY_SCORES, Report, ScoreLine
from octcube_core.report.pictures import ReportPicture
from octcube_core.report.words import Rows

JPEG_QUALITY = 90
MOST_NOTES, FEW_NOTES, LONG_TABLE = 8, 2, 11  # notes there is room for; few if rows are so many

_STYLE = """
@page { size: A4; margin: 12mm 14mm; }
* { box-sizing: border-box; }
body { font: 8pt/1.3 "DejaVu Sans", Verdana, Arial, sans-serif; color: #111; background: #fff;
  width: 182mm; margin: 6mm auto; }
@media print { body { margin: 0; } }
header { display: flex; justify-content: space-between; align-items: baseline;
  border-bottom: 0.5mm solid #111; }
h1 { font-size: 16pt; margin: 0; }
.eye { font-size: 13pt; font-weight: bold; }
.disclaimer { font-weight: bold; color: #8a1c00; margin: 1mm 0; }
h2 { font-size: 9.5pt; margin: 2.5mm 0 1mm; }
dl { display: grid; grid-template-columns: max-content 1fr max-content 1fr; gap: 0.4mm 3mm; margin: 1.5mm 0; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; max-height: 2.7em; overflow: hidden; }
.identity { border: 0.3mm solid #777; padding: 1mm 2mm; }
.two { display: grid; grid-template-columns: 106mm 70mm; gap: 6mm; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: 0.5mm 1mm 0.5mm 0; vertical-align: top; text-align: left; font-weight: normal; }
th { width: 57mm; max-width: 57mm; overflow-wrap: anywhere; }
td + td { padding-left: 2mm; }
th span { display: block; max-height: 2.7em; overflow: hidden; }
.many th span { white-space: nowrap; text-overflow: ellipsis; }
.many td, .many th { padding-top: 0.1mm; padding-bottom: 0.1mm; }
tr.present th, tr.present td { font-weight: bold; }
.bar { position: relative; display: block; width: 24mm; height: 3mm; margin-top: 0.7mm;
  background: #e4e4e4; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.bar i { position: absolute; left: 0; top: 0; bottom: 0; background: #33638d; }
.bar b { position: absolute; top: -0.6mm; bottom: -0.6mm; width: 0.5mm; background: #111; }
.small { font-size: 7pt; color: #444; margin: 1mm 0 0; }
figure { margin: 0; } figcaption { font-size: 7pt; color: #333; }
.front img { max-width: 70mm; max-height: 66mm; display: block; }
.bscans { display: grid; grid-template-columns: repeat(3, 58mm); gap: 4mm; }
.bscans img { width: 100%; max-height: 41mm; object-fit: contain; object-position: left; display: block; }
.roomy { grid-template-columns: 120mm 58mm; }
.roomy figure:first-child { grid-row: span 2; }
.roomy figure:first-child img { max-height: 72mm; }
.roomy figure:not(:first-child) img { max-height: 33mm; }
ul { margin: 0; padding-left: 4mm; font-size: 7.5pt; overflow-wrap: anywhere; }
li span { display: block; max-height: 2.6em; overflow: hidden; }
footer { border-top: 0.3mm solid #111; margin-top: 3mm; padding-top: 1mm; font-size: 7.5pt;
  overflow-wrap: anywhere; }
footer p { margin: 0; }
"""


def html_text(report: Report) -> str:
    """The whole file."""
    roomy = " roomy" if report.roomy else ""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f'<header><h1>{escape(report.title)}</h1><span class="eye">{escape(report.eye)}</span></header>',
        f'<p class="disclaimer">{escape(" · ".join((report.disclaimer, *report.synthetic)))}</p>',
        _rows(report.identity, "identity"),
        _rows(report.facts, "facts"),
        '<div class="two">\n<section>',
        _scores(report),
        '</section>\n<section class="front">',
        _front(report),
        "</section>\n</div>",
        f'<h2>{escape(report.evidence)}</h2>\n<div class="bscans{roomy}">',
        *(_figure(picture) for picture in report.bscans),
        "</div>",
        _notes(report),
        f"<footer>{_lines('p', report.model)}<p><strong>{escape(report.disclaimer)}</strong></p></footer>",
        "</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def jpeg(picture: Image.Image) -> bytes:
    """A picture as JPEG, which keeps a page with four of them below a megabyte."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _rows(rows: Rows, name: str) -> str:
    if not rows:
        return ""
    items = "".join(
        f'<dt>{escape(key)}</dt><dd dir="auto">{escape(value)}</dd>' for key, value in rows
    )
    return f'<dl class="{name}">{items}</dl>'


def _scores(report: Report) -> str:
    parts = []
    if report.scores:
        rows = "\n".join(_score(line) for line in report.scores)
        many = " many" if len(report.scores) >= MANY_SCORES else ""
        parts += ["<h2>Diseases</h2>", f'<table class="scores{many}">\n{rows}\n</table>']
    parts += [f'<p class="small">{escape(note)}</p>' for note in report.score_notes]
    if report.measurements:
        rows = "\n".join(
            f"<tr><th><span>{escape(name)}</span></th><td>{escape(value)}</td></tr>"
            for name, value in report.measurements
        )
        parts += ["<h2>Measurements</h2>", f'<table class="measurements">\n{rows}\n</table>']
    return "\n".join(parts)


def _score(line: ScoreLine) -> str:
    mark = "" if line.threshold is None else f'<b style="left:{_percent(line.threshold)}"></b>'
    bar = f'<span class="bar"><i style="width:{_percent(line.probability)}"></i>{mark}</span>'
    present = ' class="present"' if line.verdict == "present" else ""
    return (
        f"<tr{present}><th><span>{escape(line.name)}</span></th><td>{bar}</td><td>{line.text}</td>"
        f"<td>{escape(line.verdict)}</td></tr>"
    )


def _percent(part: float) -> str:
    return f"{100 * min(max(part, 0.0), 1.0):.1f}%"


def _front(report: Report) -> str:
    figure = _figure(report.front) if report.front else ""
    note = f'<p class="small">{escape(report.front_note)}</p>' if report.front_note else ""
    return f"<h2>From the front</h2>{figure}{note}"


def _figure(picture: ReportPicture) -> str:
    source = base64.b64encode(jpeg(picture.image)).decode()
    caption = escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{source}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _notes(report: Report) -> str:
    """As many as have room on the page when it is printed; the last line says how many have none."""
    notes = report.notes
    long = len(report.scores) + len(report.measurements) > LONG_TABLE
    most = FEW_NOTES if long else MOST_NOTES
    if len(notes) > most:
        notes = (*notes[: most - 1], f"{len(notes) - most + 1} more are in the scores file.")
    items = "".join(f"<li><span>{escape(note)}</span></li>" for note in notes)
    return f"<h2>Warnings and notes</h2>\n<ul>{items}</ul>" if notes else ""


def _lines(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
