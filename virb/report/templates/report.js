// Sorts tables, and filters the leaderboard. Without it all rows are there, best first.
"use strict";

const number = (row, column) => {
  const cell = row.cells[column];
  return cell && cell.dataset.v !== undefined ? Number(cell.dataset.v) : undefined;
};
const words = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : "");

// Ties keep the order that the page was written in.
const first = new Map([...document.querySelectorAll("tbody tr")].map((row, k) => [row, k]));

// Ranks and places are better when lower: their first click sorts upwards.
function isLowFirst(head) {
  return head.classList.contains("place") || head.classList.contains("rank") || head.dataset.rank !== undefined;
}

function sortBy(table, head, column, isDown) {
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => first.get(a) - first.get(b));
    rows.sort((a, b) => {
      const x = number(a, column), y = number(b, column);
      if (x === undefined && y === undefined) {
        return (isDown ? -1 : 1) * words(a, column).localeCompare(words(b, column), undefined, { numeric: true });
      }
      if (x === undefined) return 1;
      if (y === undefined) return -1;
      return (isDown ? -1 : 1) * (x - y);
    });
    body.append(...rows);
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.querySelectorAll("tbody tr:not(.group)").length < 2) continue;
  const heads = [...table.tHead.querySelectorAll("th")].filter((head) => head.getAttribute("scope") === "col");
  heads.forEach((head, k) => {
    const column = head.dataset.i === undefined ? k : Number(head.dataset.i);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.setAttribute("aria-label", "sort by " + head.textContent.trim());
    if (!head.querySelector("a")) {
      // The whole head is the button; where it links to a page, a button of its own stands beside the link.
      const text = head.querySelector("span, abbr");
      if (text) { text.replaceWith(button); button.append(text); }
    }
    if (!button.isConnected) head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const hasNumbers = [...table.tBodies].some((body) => [...body.rows].some((row) => number(row, column) !== undefined));
      const isDownFirst = hasNumbers && !isLowFirst(head);
      sortBy(table, head, column, now === null ? isDownFirst : now === "ascending");
    });
  });
}

const tools = document.getElementById("tools");
if (tools) {
  const boards = [...document.querySelectorAll("[data-setting]")];
  const said = tools.querySelector("output");
  const value = (name) => (tools.elements[name] ? tools.elements[name].value : "");

  const apply = () => {
    const search = value("search").trim().toLowerCase().split(/\s+/).filter(Boolean);
    const category = value("category"), role = value("role"), family = value("family");
    const setting = value("setting") || (boards[0] && boards[0].dataset.setting);
    let shown = 0, all = 0;
    for (const board of boards) {
      board.hidden = board.dataset.setting !== setting;
      for (const cell of board.querySelectorAll("[data-c]")) {
        cell.hidden = Boolean(category) && cell.dataset.c !== category;
      }
      for (const row of board.querySelectorAll("tbody tr")) {
        const text = row.querySelector("th").textContent.toLowerCase() + " " + (row.dataset.family || "").toLowerCase();
        row.hidden = !(
          search.every((word) => text.includes(word)) &&
          (!role || row.dataset.role === undefined || row.dataset.role === role) &&
          (!family || row.dataset.family === undefined || row.dataset.family === family)
        );
        if (!board.hidden) { all += 1; shown += row.hidden ? 0 : 1; }
      }
    }
    said.textContent = shown === all ? all + " encoders" : shown + " of " + all + " encoders";
    fit();
  };

  // A category's own order is that of its mean ranks; without a category, that of all.
  const order = () => {
    const category = value("category");
    for (const board of boards) {
      const head = category
        ? board.querySelector('thead th[data-rank][data-c="' + category + '"]')
        : board.querySelector("thead th.place");
      if (head) sortBy(head.closest("table"), head, Number(head.dataset.i), false);
    }
  };

  tools.hidden = false;
  tools.addEventListener("input", apply);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("reset", () => setTimeout(() => { order(); apply(); }));
  if (tools.elements.category) tools.elements.category.addEventListener("change", order);
  if (boards.length > 1) for (const board of boards) { const h2 = board.querySelector("h2"); if (h2) h2.hidden = true; }
  apply();
}

// A table that fits its page scrolls with it, and its head sticks to the window; a wider one scrolls by itself.
function fit() {
  for (const box of document.querySelectorAll(".scroll")) {
    box.classList.remove("fits");
    box.classList.toggle("fits", box.scrollWidth <= box.clientWidth + 1);
  }
}
fit();
addEventListener("resize", fit);
