// Opens pages from disk in headless Chromium, the network cut off, and fails where one complains, asks for anything, has a
// serious accessibility finding, or does not open a module that is clicked.
//
//     node check.mjs [--timed] FOLDER [SCREENSHOTS]
//
// Every .html file of FOLDER is opened; CHROMIUM names the browser (/usr/bin/chromium without it). With --timed a page that
// takes more than a second to be drawn fails too, chain.html more than three: for a machine that does nothing else.
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { chromium } from 'playwright-core';

const timed = process.argv[2] === '--timed';
const [folder, screenshots] = process.argv.slice(timed ? 3 : 2);
const files = readdirSync(folder).filter(name => name.endsWith('.html')).sort();
if (!files.length) throw new Error(`${folder} holds no .html file`);
const axe = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox'] });
const frame = page => page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
const problems = [];

async function open(path, options) {
  const page = await (await browser.newContext({ offline: true, viewport: { width: 1360, height: 940 }, ...options })).newPage();
  const complaints = [];
  page.on('console', message => complaints.push(message.text()));
  page.on('pageerror', error => complaints.push(String(error)));
  page.on('request', request => {
    if (!/^(file|data):/.test(request.url())) complaints.push('asks for ' + request.url());
  });
  const start = performance.now();
  await page.goto('file://' + path, { waitUntil: 'load' });
  await frame(page);
  return { page, complaints, took: performance.now() - start };
}

for (const file of files) {
  const path = resolve(folder, file);
  const say = problem => problems.push(`${file}: ${problem}`);
  const { page, complaints, took } = await open(path, {});
  const most = file === 'chain.html' ? 3000 : 1000;
  if (timed && took > most) say(`took ${took.toFixed(0)} ms, expected at most ${most}`);
  const shot = name => screenshots && page.screenshot({ path: join(screenshots, `${basename(file, '.html')}-${name}.png`) });
  await shot('top');
  const module = page.locator('a.vertex.module').first();
  if (await module.count()) {
    await module.scrollIntoViewIfNeeded();
    await module.click();
    await frame(page);
    if (!(await page.locator('#crumbs button').count())) say('a module that is clicked does not open');
    await page.locator('#graph').scrollIntoViewIfNeeded();
    await shot('module');
    const layer = page.locator('a.vertex.weighted, a.vertex.plain').first();
    if (await layer.count()) {
      const row = '#row-' + (await layer.getAttribute('data-row'));
      await layer.focus();
      await page.keyboard.press('Enter');
      if (!(await page.locator(row).isVisible())) say(`the row ${row} of a layer is not shown`);
      await shot('row');
    }
  }
  for (const complaint of complaints) say(complaint);
  await page.context().close();
  // The page's own policy forbids the checker: a second time without it, in light and in dark.
  for (const colorScheme of ['light', 'dark']) {
    const { page } = await open(path, { bypassCSP: true, colorScheme });
    await page.addScriptTag({ content: axe });
    const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
    for (const { id, impact, nodes } of violations) {
      if (['serious', 'critical'].includes(impact)) say(`${colorScheme}: ${id} (${impact}), ${nodes.length} times: ${nodes[0].html}`);
    }
    await page.context().close();
  }
  console.log(`${file}: ${took.toFixed(0)} ms`);
}
await browser.close();
if (problems.length) {
  console.error(problems.join('\n'));
  process.exit(1);
}
