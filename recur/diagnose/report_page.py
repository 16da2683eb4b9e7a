"""A report as one HTML page without external files."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from recur.diagnose.report_parts import Picture, Section, Table

Chapter = tuple[str, str, Sequence[Section]]  # its title, a line of facts, and its sections

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
_STYLE = """
:root { --text: #1b1f24; --muted: #59636e; --line: #d5dae0; --page: #fff; --card: #fff;
  --stripe: #f5f7f9; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --muted: #9aa4af; --line: #363d46;
  --page: #0e1116; --card: #000; --stripe: #171b21; }
  img.chart { filter: invert(1) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 56px 0 0; overflow-wrap: anywhere; }
h3 { font-size: 1.1rem; margin: 36px 0 8px; }
p { margin: 4px 0 12px; max-width: 46rem; }
.facts, figcaption { color: var(--muted); }
figcaption { font-size: .875rem; padding: 0 10px 8px; }
.pictures { display: grid; gap: 16px; margin: 12px 0; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; background: var(--card);
  overflow: hidden; }
figure.wide { grid-column: 1 / -1; }
.scroll { overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figure.wide img.chart { min-width: min(820px, 100%); }
@media (max-width: 640px) { figure.wide img.chart { min-width: 820px; } }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 12px; white-space: nowrap; vertical-align: top; }
th { border-bottom: 1px solid var(--line); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--stripe); }
.number { text-align: right; }
.scroll.table { border: 1px solid var(--line); border-radius: 8px; width: fit-content;
  max-width: 100%; max-height: 70vh; overflow-y: auto; margin: 12px 0; }
nav { margin: 12px 0; line-height: 2; }
nav a { margin-right: 14px; color: inherit; }
"""


def render(title: str, chapters: Sequence[Chapter]) -> str:
    """Renders a report; the first chapter is that of the run, others are those of its parts."""
    body = []
    for number, (name, facts, sections) in enumerate(chapters):
        level = "h2" if number else "h1"
        body += [
            f'<{level} id="part-{number}">{html.escape(name)}</{level}>',
            f'<p class="facts">{html.escape(facts)}</p>' if facts else "",
        ]
        if not number and len(chapters) > 1:
            links = (
                f'<a href="#part-{n}">{html.escape(part)}</a>'
                for n, (part, _, _) in enumerate(chapters[1:], start=1)
            )
            body.append(f"<nav>{''.join(links)}</nav>")
        body += map(_section, sections)
    return _PAGE.format(title=html.escape(title), style=_STYLE, body="\n".join(filter(None, body)))


def _section(section: Section) -> str:
    parts = [f"<h3>{html.escape(section.title)}</h3>"]
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    if section.pictures:
        parts.append(f'<div class="pictures">{"".join(map(_figure, section.pictures))}</div>')
    return "\n".join([*parts, *map(_table, section.tables)])


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    kind = "" if picture.is_photo else ' class="chart"'
    image = f'<img{kind} alt="{html.escape(picture.name)}" src="data:image/png;base64,{data}">'
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    wide = ' class="wide"' if picture.is_wide else ""
    return f'<figure{wide}><div class="scroll">{image}</div>{caption}</figure>'


def _table(table: Table) -> str:
    texts = len(table.header) - table.numbers
    classes = [""] * texts + [' class="number"'] * table.numbers

    def line(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{kind}>{html.escape(cell)}</{tag}>"
            for kind, cell in zip(classes, cells, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line(row, "td") for row in table.rows)
    head = line(table.header, "th")
    return (
        f'<div class="scroll table"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'
    )
