"""How the report looks, and the few lines that sort its tables: both are written into every page."""

from __future__ import annotations

# Colours are chosen for a contrast of at least 4.5 on their ground, light and dark; print takes the light ones.
CSS = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1b1b; --soft: #595959; --line: #d5d5d5; --band: #f3f4f6;
  --link: #0b57a4; --best: #e3efe6; --warn: #7a4100; --warn-ground: #fff6e5; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181c; --ink: #e8e8e8; --soft: #aeb4bd; --line: #3a3f47;
  --band: #22262c; --link: #8ec5ff; --best: #1f3d2a; --warn: #ffd08a; --warn-ground: #33270f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, body > nav { max-width: 72rem; margin: 0 auto; padding: 0 1rem; }
main { padding-bottom: 3rem; }
body > nav { padding-top: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
p, li, dd { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.soft, caption, figcaption { color: var(--soft); font-size: .9rem; }
.lead { font-size: 1.1rem; }
.warnings { border-left: .3rem solid var(--warn); background: var(--warn-ground); color: var(--warn);
  padding: .6rem 1rem .6rem 2rem; }
.contents { columns: 16rem; column-gap: 2rem; padding-left: 1.2rem; }
.contents li { break-inside: avoid; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--soft); }
tbody th { font-weight: 500; overflow-wrap: break-word; min-width: 8rem; max-width: 16rem; background: var(--ground); }
tbody th:first-child { position: sticky; left: 0; }
tr.group th { background: var(--band); font-weight: 600; }
td.number { text-align: right; white-space: nowrap; }
td.best { background: var(--best); font-weight: 700; }
abbr { text-decoration: none; }
td small { color: var(--soft); font-weight: 400; }
.vertical thead th:not(:first-child) { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left;
  max-height: 14rem; padding: .5rem .2rem; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit;
  text-decoration: underline dotted; writing-mode: inherit; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .2rem 1rem; }
dt { color: var(--soft); }
dd { margin: 0; }
code, .hash { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85em; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; padding: .5rem;
  border: 1px solid var(--line); }
@media (max-width: 36rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } tbody th { min-width: 5rem;
  max-width: 8rem; }
  .contents { columns: 1; } }
@media print { :root { color-scheme: light; --ground: #fff; --ink: #000; --soft: #444; --line: #bbb; --band: #eee;
    --link: #000; --best: #e6e6e6; --warn: #000; --warn-ground: #fff; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; } body > nav, .contents { display: none; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .1rem .3rem; }
  tbody th:first-child { position: static; min-width: 0; } th button { text-decoration: none; } thead { display: table-header-group; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll:has(.vertical) { page: wide; } .vertical { font-size: 5.5pt; } .vertical th, .vertical td { padding: .1rem .12rem; }
  .vertical tbody th { font-size: 5.5pt; max-width: 5rem; } }
@page wide { size: landscape; }
"""

# Without it the tables stay in the order they were written in. Rows move inside their category only.
SORTING = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  if (table.querySelectorAll("tbody tr:not(.group)").length < 3) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes.length && !head.querySelector("a") ? [...head.childNodes] : ["\\u21c5"]);
    if (head.querySelector("a")) button.setAttribute("aria-label", "sort by " + head.textContent);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter(row => !row.classList.contains("group"));
        const key = row => row.cells[column] && row.cells[column].dataset.value;
        const text = row => row.cells[column] ? row.cells[column].textContent : "";
        rows.sort((a, b) => {
          const x = key(a), y = key(b);
          if (x === undefined && y === undefined) return (down ? -1 : 1) * text(a).localeCompare(text(b));
          if (x === undefined) return 1;
          if (y === undefined) return -1;
          return (down ? -1 : 1) * (x - y);
        });
        body.append(...rows);
      }
    });
  });
}
"""
