"""Writes the training report as one HTML page without scripts, which loads nothing."""

import re
from collections.abc import Sequence
from html import escape

from rqrec.models.bundle.report import REPORT_POLICY
from rqrec.training.report.section import Figure, Section

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #ffffff; --ink: #1c1e21; --muted: #5d646c; --grid: #e3e5e8;
  --line: #d5d8dc; --good: #1a7f37; --bad: #b42318;
  --series-0: #0b5cad; --series-1: #c2410c; --series-2: #15803d; --series-3: #7e22ce; --series-4: #a16207;
  --series-5: #0e7490; --series-6: #be185d; --series-7: #4b5563; }
@media (prefers-color-scheme: dark) { :root { --paper: #131518; --card: #1b1e23; --ink: #e7e9ec; --muted: #a3abb5;
  --grid: #32363d; --line: #3a3f47; --good: #4ac26b; --bad: #ff8178;
  --series-0: #6cb2f7; --series-1: #f99b5b; --series-2: #5fce86; --series-3: #c69af5; --series-4: #e0bc4f;
  --series-5: #59c8dc; --series-6: #f583b6; --series-7: #b6bec9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 1400px; margin: 0 auto; padding: 0 16px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 24px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 40px 0 4px; border-top: 1px solid var(--line); padding-top: 20px; }
h3 { font-size: 1rem; margin: 0 0 8px; }
h4 { font-size: .95rem; margin: 0; } h5 { font-size: .8rem; margin: 8px 0 2px; color: var(--muted); font-weight: 600; }
p { margin: 4px 0; max-width: 85ch; } header p, footer p { color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 12px 0; } a { color: var(--series-0); }
.figures { display: grid; gap: 16px; margin-top: 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); }
figure { margin: 0; padding: 14px; min-width: 0;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
figure.wide { grid-column: 1 / -1; }
figure > svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
figure.wide > svg { max-width: 760px; margin: 0 auto; }
figure p { font-size: .85rem; } .bad::before { content: "Bad: "; color: var(--bad); font-weight: 600; }
.reading::before { content: "Read: "; color: var(--muted); font-weight: 600; }
.praise { color: var(--good); } .warning { color: var(--bad); }
.scroll { overflow-x: auto; margin-bottom: 8px; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; } thead th { color: var(--muted); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td small, th small { display: block; color: var(--muted); font-weight: 400; white-space: nowrap; }
.wide td { min-width: 7em; } .wide td:last-child { min-width: 14em; } .wide td.number:last-child { min-width: 0; }
.cards { display: grid; gap: 12px; margin-bottom: 8px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); }
.card { border: 1px solid var(--grid); border-radius: 6px; padding: 10px; }
.card > p { color: var(--muted); font-size: .8rem; }
.pair { display: grid; gap: 0 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
ol { margin: 0; padding-left: 1.3em; font-size: .85rem; }
li small { color: var(--muted); } li b { color: var(--series-0); }
details { margin: 8px 0; font-size: .85rem; } summary { cursor: pointer; } ul { margin: 4px 0; padding-left: 1.3em; }
li { overflow-wrap: anywhere; }
"""


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """Returns the page as HTML.

    Args:
        title: The heading of the page, plain text.
        introduction: A sentence below it, plain text.
        sections: The sections in their order.
    """
    links = "".join(f'<a href="#{anchor(one.title)}">{escape(one.title)}</a>' for one in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{REPORT_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p>{escape(introduction)}</p><nav>{links}</nav></header>
<main>
{"".join(map(_section, sections))}
</main>
<footer><p>Written by rqrec. Every figure was computed from the results of the stages of this run.</p></footer>
</body>
</html>
"""


def anchor(title: str) -> str:
    """Returns the name of a section in links.

    >>> anchor("Map of the catalogue")
    'map-of-the-catalogue'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _section(section: Section) -> str:
    introduction = f"<p>{escape(section.introduction)}</p>" if section.introduction else ""
    figures = "".join(map(_figure, section.figures))
    notes = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
    notes = f"<details open><summary>Notes</summary><ul>{notes}</ul></details>" if notes else ""
    return (
        f'<section id="{anchor(section.title)}"><h2>{escape(section.title)}</h2>{introduction}'
        f'<div class="figures">{figures}</div>{notes}</section>\n'
    )


def _figure(figure: Figure) -> str:
    kind = ' class="wide"' if figure.is_wide else ""
    return (
        f"<figure{kind}><figcaption><h3>{escape(figure.title)}</h3></figcaption>{figure.body}"
        f'<p class="reading">{escape(figure.reading)}</p><p class="bad">{escape(figure.bad)}</p></figure>\n'
    )
