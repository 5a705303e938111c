import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { saveAnimation, toFrames } from '../src/report/animation.ts';
import { confusionSpec } from '../src/report/confusion.ts';
import { curveSpec, type SeedCurve } from '../src/report/curve.ts';
import { textWidth } from '../src/report/font.ts';
import { histogramSpec, sharedBins } from '../src/report/histogram.ts';
import { rasterize, renderSvg, savePicture } from '../src/report/picture.ts';
import { embedLatents, scatterSpec } from '../src/report/scatter.ts';
import { trainingSpec } from '../src/report/training.ts';
import { tsne } from '../src/report/tsne.ts';
import { gaussians, hasCode } from './support/report.ts';

let folder = '';
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'eli-report-'));
});
test.after(() => rm(folder, { recursive: true }));

const run = (seed: number, unaligned: number, aligned: number): SeedCurve => ({
  seed,
  afterTask1: 99.2,
  unaligned,
  points: [0, 1000, 2000].map((iteration) => ({
    iteration,
    accuracy: unaligned + ((aligned - unaligned) * iteration) / 2000,
  })),
});

/** Width and height in the header of a PNG, after its signature has been checked. */
function pngSize(file: Uint8Array): { width: number; height: number } {
  const bytes = Buffer.from(file);
  assert.is(bytes.toString('hex', 0, 8), '89504e470d0a1a0a');
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

test('text is as wide as it is drawn', async () => {
  const text = 'after task 2, unaligned: −3.09 %';
  const x = 10;
  const svg = (weight: string) =>
    `<svg xmlns="http://www.w3.org/2000/svg" width="600" height="40"><rect width="600" height="40" fill="#fff"/>` +
    `<text x="${x}" y="28" font-family="DejaVu Sans" font-size="20" font-weight="${weight}">${text}</text></svg>`;
  for (const weight of ['normal', 'bold'] as const) {
    const { pixels, width } = await rasterize(svg(weight), 1);
    let right = 0;
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i] < 128) right = Math.max(right, (i / 4) % width);
    assert.ok(Math.abs(right - x - textWidth(text, 20, weight)) < 4, `${weight}: ink ends at ${right}`);
  }
});

test('a picture is written as SVG and as PNG of twice the size, with fonts drawn', async () => {
  await savePicture(join(folder, 'curve'), curveSpec([run(1, 40, 80)]));
  const svg = await readFile(join(folder, 'curve.svg'), 'utf8');
  for (const text of [
    'Accuracy on the first task',
    'seed 1',
    'aligner iterations',
    'after task 1',
    '80.0 %',
  ]) {
    assert.ok(svg.includes(text), text);
  }
  const [, width, height] = svg.match(/width="(\d+)" height="(\d+)"/)!.map(Number);
  assert.equal(pngSize(await readFile(join(folder, 'curve.png'))), { width: 2 * width, height: 2 * height });
  const withoutText = await rasterize(svg.replace(/<text.*?<\/text>/gs, ''), 1);
  assert.not.equal((await rasterize(svg, 1)).pixels, withoutText.pixels);
});

test('the same data gives the same SVG', async () => {
  const spec = curveSpec([run(1, 40, 80), run(2, 50, 90)]);
  assert.is(await renderSvg(spec), await renderSvg(spec));
});

test('a curve of several seeds shows the means', async () => {
  const svg = await renderSvg(curveSpec([run(1, 40, 80), run(2, 50, 90)]));
  for (const text of ['2 seeds (thin) and their mean', '85.0 %', '45.0 %', '99.2 %'])
    assert.ok(svg.includes(text), text);
  assert.throws(() => curveSpec([]), hasCode('ARGUMENT'));
});

test('labels of the curve keep apart', async () => {
  for (const [unaligned, aligned] of [
    [99, 99.1],
    [20, 20.5],
    [0, 0],
  ]) {
    const svg = await renderSvg(curveSpec([run(1, unaligned, aligned)]));
    const rows = [...svg.matchAll(/transform="translate\(552,([\d.-]+)\)"/g)].map((match) =>
      Number(match[1]),
    );
    rows.sort((a, b) => a - b);
    assert.is(rows.length, 3);
    assert.ok(rows[1] - rows[0] > 30 && rows[2] - rows[1] > 30, `${rows}`);
    assert.ok(rows[2] < 320, `${rows}`);
  }
});

test('every value is in one of the shared bins', () => {
  const sets = [gaussians(1, 5000, -3, 1), gaussians(2, 400, 2, 2), Float32Array.of(-1e6, 0, 1e6)];
  const { edges, counts } = sharedBins(sets, 50);
  assert.is(edges.length, 51);
  assert.equal(
    counts.map((row) => row.reduce((sum, count) => sum + count, 0)),
    [5000, 400, 3],
  );
  assert.ok(edges[0] > -100 && edges[50] < 100, 'two far values do not stretch the axis');
  assert.equal(sharedBins([Float32Array.of(7, 7)], 4).counts, [[0, 0, 2, 0]]);
  assert.throws(() => sharedBins([new Float32Array(0)], 4), hasCode('ARGUMENT'));
  assert.throws(() => sharedBins([Float32Array.of(Number.NaN)], 4), hasCode('NON_FINITE'));
});

test('the histogram names its sets and their means', async () => {
  const set = (mean: number) => Float32Array.of(mean - 1, mean, mean + 1);
  const svg = await renderSvg(histogramSpec({ previous: set(-3), current: set(12), aligned: set(-2.5) }));
  for (const text of [
    'previous model: mean −3.00',
    'unaligned: mean 12.0',
    'aligned: mean −2.50',
    '3 test images',
  ]) {
    assert.ok(svg.includes(text), text);
  }
});

test('t-SNE keeps classes together and gives the same places for the same seed', async () => {
  const [n, d, classes] = [150, 32, 5];
  const centres = gaussians(3, classes * d, 0, 4);
  const noise = gaussians(4, n * d, 0, 1);
  const points = noise.map((value, i) => value + centres[(Math.floor(i / d) % classes) * d + (i % d)]);
  const places = await tsne(points, n, d, { seed: 5, iterations: 300 });
  assert.is(places.length, 2 * n);
  assert.equal(places, await tsne(points, n, d, { seed: 5, iterations: 300 }));
  assert.not.equal(places, await tsne(points, n, d, { seed: 6, iterations: 300 }));

  const neighbours = 10;
  let same = 0;
  for (let i = 0; i < n; i++) {
    const distance = (j: number) =>
      Math.hypot(places[2 * j] - places[2 * i], places[2 * j + 1] - places[2 * i + 1]);
    const near = Array.from({ length: n }, (_, j) => j).sort((a, b) => distance(a) - distance(b));
    same += near.slice(1, neighbours + 1).filter((j) => j % classes === i % classes).length;
  }
  assert.ok(same / (n * neighbours) > 0.98, `purity ${same / (n * neighbours)}`);
});

test('t-SNE refuses what it cannot place', async () => {
  const code = (points: Float32Array, n: number, d: number) =>
    tsne(points, n, d).then(
      () => 'none',
      (error) => error.code,
    );
  assert.is(await code(new Float32Array(10), 5, 3), 'SHAPE');
  assert.is(await code(new Float32Array(6), 3, 2), 'SHAPE');
  assert.is(await code(Float32Array.of(1, 2, 3, Number.NaN), 4, 1), 'NON_FINITE');
});

test('the scatter shows the same images in three panels', async () => {
  const [n, d] = [60, 4];
  const latents = (seed: number) => gaussians(seed, n * d, 0, 1);
  const labels = Array.from({ length: n }, (_, i) => i % 5);
  const sets = { n, d, labels, afterTask1: latents(1), unaligned: latents(2), aligned: latents(3) };
  const embedded = await embedLatents(sets, { images: 20, iterations: 50 });
  assert.is(embedded.panels.length, 3);
  assert.equal(
    embedded.labels,
    Array.from({ length: 20 }, (_, i) => (3 * i) % 5),
  );
  assert.ok(embedded.panels.every((panel) => panel.places.length === 40));
  const svg = await renderSvg(scatterSpec(embedded.labels, embedded.panels));
  for (const text of [
    'after task 1',
    'after task 2, unaligned',
    'after task 2, aligned',
    'digit',
    '20 test images',
  ]) {
    assert.ok(svg.includes(text), text);
  }
  assert.throws(() => scatterSpec([0], embedded.panels), hasCode('SHAPE'));
});

test('frames average over samples and show what moved most, ordered by the target', () => {
  // Two samples, four dimensions; dimension 1 stays, dimension 3 moves most.
  const start = Float32Array.of(0, 1, 0, 0, 2, 1, 0, 0);
  const end = Float32Array.of(1, 1, 2, 8, 3, 1, 2, 8);
  const movement = { trajectory: [start, end], n: 2, d: 4, target: Float32Array.of(2, 1, 3, 0) };
  const { frames, distance } = toFrames(movement, 3);
  assert.equal(frames, [
    [
      { dimension: 3, start: 0, now: 0, target: 0 },
      { dimension: 0, start: 1, now: 1, target: 2 },
      { dimension: 2, start: 0, now: 0, target: 3 },
    ],
    [
      { dimension: 3, start: 0, now: 8, target: 0 },
      { dimension: 0, start: 1, now: 2, target: 2 },
      { dimension: 2, start: 0, now: 2, target: 3 },
    ],
  ]);
  assert.equal(distance, [1, 2.25]);
  assert.throws(() => toFrames({ ...movement, trajectory: [] }), hasCode('SHAPE'));
  assert.throws(() => toFrames({ ...movement, d: 3 }), hasCode('SHAPE'));
});

test('the animation has a frame a step', async () => {
  const [n, d] = [3, 40];
  const target = gaussians(1, d, 0, 2);
  const start = gaussians(2, n * d, 0, 1);
  const trajectory = Array.from({ length: 6 }, (_, k) =>
    start.map((v, i) => v + (k / 5) * (target[i % d] - v)),
  );
  await saveAnimation(join(folder, 'move'), { trajectory, n, d, target }, 'class 3');
  const gif = await readFile(join(folder, 'move.gif'));
  assert.is(gif.toString('latin1', 0, 6), 'GIF89a');
  const frames = gifDelays(gif);
  assert.equal(frames, [100, 12, 12, 12, 12, 200]);
  const [width, height] = [gif.readUInt16LE(6), gif.readUInt16LE(8)];
  assert.ok(Math.abs(width - 800) < 50 && Math.abs(height - 450) < 50, `${width} × ${height}`);
  assert.equal(pngSize(await readFile(join(folder, 'move.png'))), { width: 2 * width, height: 2 * height });
});

/** The delay of every frame of a GIF, in hundredths of a second, found by walking its blocks. */
function gifDelays(gif: Buffer): number[] {
  const delays: number[] = [];
  const tableBytes = (flags: number): number => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + tableBytes(gif[10]);
  const skipBlocks = (): void => {
    while (gif[at] !== 0) at += gif[at] + 1;
    at++;
  };
  for (; gif[at] !== 0x3b; ) {
    if (gif[at] === 0x21) {
      if (gif[at + 1] === 0xf9) delays.push(gif.readUInt16LE(at + 4));
      at += 2;
    } else {
      assert.is(gif[at], 0x2c, 'an image follows');
      at += 10 + tableBytes(gif[at + 9]) + 1;
    }
    skipBlocks();
  }
  return delays;
}

test('the pictures of a training show the title and the subtitle that they are given', async () => {
  const titles = { title: 'cnn on bars', subtitle: 'seed 7, 2 epochs' };
  const point = { trainLoss: 1, testLoss: 1.1, testAccuracy: 60 };
  const points = [1, 2].map((epoch) => ({ epoch, ...point }));
  for (const spec of [
    trainingSpec(points, titles),
    confusionSpec(
      [
        [3, 1],
        [0, 4],
      ],
      titles,
    ),
  ]) {
    const svg = await renderSvg(spec);
    for (const text of Object.values(titles)) assert.ok(svg.includes(`>${text}<`), text);
  }
});

test.run();
