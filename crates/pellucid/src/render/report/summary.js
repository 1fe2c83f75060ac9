const charts = JSON.parse(document.getElementById('charts').textContent);
const canvas = document.getElementById('canvas');
const crumbs = document.getElementById('crumbs');
const told = document.getElementById('told');
const edge = 20;
let view = { x: -edge, y: -edge, scale: 1 };
let shown = 0;

function apply() {
  const box = canvas.getBoundingClientRect();
  canvas.setAttribute('viewBox', [view.x, view.y, box.width / view.scale, box.height / view.scale].join(' '));
}

// The whole width where letters stay readable, from the top.
function fit() {
  const box = canvas.getBoundingClientRect();
  const [width, height] = charts[shown].size;
  const across = box.width / (width + 2 * edge);
  const down = box.height / (height + 2 * edge);
  view.scale = Math.max(Math.min(across, down, 1), Math.min(across, 0.9), 0.05);
  view.x = width / 2 - box.width / view.scale / 2;
  view.y = height + 2 * edge < box.height / view.scale ? height / 2 - box.height / view.scale / 2 : -edge;
  apply();
}

function zoom(factor, x, y) {
  const scale = Math.min(Math.max(view.scale * factor, 0.02), 8);
  view.x += x / view.scale - x / scale;
  view.y += y / view.scale - y / scale;
  view.scale = scale;
  apply();
}

function show(number) {
  shown = number;
  const chart = charts[number];
  canvas.innerHTML = chart.markup;
  crumbs.replaceChildren();
  const path = [];
  for (let at = number; at !== null && number !== 0; at = charts[at].parent) path.unshift(at);
  for (const at of path) {
    const name = at === 0 ? 'Whole model' : charts[at].title;
    if (at === number) {
      const here = document.createElement('span');
      here.textContent = name;
      crumbs.append(here);
    } else {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = name;
      button.addEventListener('click', () => show(at));
      crumbs.append(button, '›');
    }
  }
  const left = chart.left ? ` ${chart.left} lines are left out.` : '';
  told.textContent = number === 0 && !left ? '' : `Shown: ${chart.title || 'the whole model'}.${left}`;
  fit();
}

// Opens every module above a row and goes there.
function reveal(row) {
  const found = document.getElementById('row-' + row);
  for (let at = found.dataset.in; at !== undefined; at = document.getElementById('row-' + at).dataset.in) {
    open(document.getElementById('row-' + at), true);
  }
  document.querySelectorAll('#tree tr.found').forEach(other => other.classList.remove('found'));
  found.hidden = false;
  found.classList.add('found');
  found.scrollIntoView({ block: 'center' });
}

let moved = false;
canvas.addEventListener('click', event => {
  const vertex = event.target.closest('a.vertex');
  if (!vertex) return;
  event.preventDefault();
  if (moved) return;
  if (vertex.dataset.chart) show(Number(vertex.dataset.chart));
  else reveal(vertex.dataset.row);
});
canvas.addEventListener('wheel', event => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
let start = null;
canvas.addEventListener('pointerdown', event => {
  start = { x: event.clientX, y: event.clientY };
  moved = false;
});
canvas.addEventListener('pointermove', event => {
  if (!start || event.buttons === 0) return;
  const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  moved = true;
  canvas.classList.add('moving');
  view.x -= dx / view.scale;
  view.y -= dy / view.scale;
  start = { x: event.clientX, y: event.clientY };
  apply();
});
for (const end of ['pointerup', 'pointerleave']) {
  canvas.addEventListener(end, () => {
    start = null;
    canvas.classList.remove('moving');
  });
}
canvas.addEventListener('dragstart', event => event.preventDefault());
for (const button of document.querySelectorAll('[data-zoom]')) {
  button.addEventListener('click', () => {
    const factor = Number(button.dataset.zoom);
    const box = canvas.getBoundingClientRect();
    if (factor === 0) fit();
    else zoom(factor, box.width / 2, box.height / 2);
  });
}
addEventListener('resize', fit);

// The table: a module's rows are those that name it, and so on inwards.
const tree = document.getElementById('tree');
const inside = new Map();
for (const row of tree.querySelectorAll('tr[data-in]')) {
  if (!inside.has(row.dataset.in)) inside.set(row.dataset.in, []);
  inside.get(row.dataset.in).push(row);
}
function open(row, wanted) {
  const button = row.querySelector('th button');
  button.setAttribute('aria-expanded', wanted);
  const waiting = [row];
  while (waiting.length) {
    const at = waiting.pop();
    const shows = at === row ? wanted : wanted && at.querySelector('th button').getAttribute('aria-expanded') === 'true';
    for (const child of inside.get(at.id.slice(4)) || []) {
      child.hidden = !shows;
      if (child.classList.contains('module')) waiting.push(child);
    }
  }
}
tree.addEventListener('click', event => {
  const button = event.target.closest('th button');
  if (button) open(button.closest('tr'), button.getAttribute('aria-expanded') !== 'true');
});
function all(wanted) {
  for (const row of tree.tBodies[0].rows) {
    if (wanted || row.dataset.in !== undefined) row.hidden = !wanted;
    const button = row.querySelector('th button');
    if (button) button.setAttribute('aria-expanded', wanted);
  }
}
document.getElementById('open-all').addEventListener('click', () => all(true));
document.getElementById('close-all').addEventListener('click', () => all(false));
fit();
