// Closed-form maps against float64, the small linear algebra below them, and the one shape and the files of all maps.
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { cholesky, choleskySolve, invertLower } from '../src/eli/cholesky.ts';
import { CLOSED_FORMS, ClosedForm, type ClosedFormName, fitMap } from '../src/eli/maps/closed-forms.ts';
import { loadMap, mapReaders } from '../src/eli/maps/load.ts';
import type { LatentMap } from '../src/eli/maps/map.ts';
import { meanRow, scatter } from '../src/eli/moments.ts';
import type { EliError } from '../src/errors.ts';
import { readSafetensors, writeSafetensors } from '../src/files/safetensors.ts';
import { tensor } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { exportedClasses } from './support/classes.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);
const folder = temporaryFolder();
const NAMES = Object.keys(CLOSED_FORMS) as ClosedFormName[];

/** Correlated values: row i, column j of a smooth mix of noise. */
function samples(n: number, d: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  const uniform = (): number => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return state / 2 ** 31;
  };
  const out = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    const common = uniform() * 4;
    for (let j = 0; j < d; j++) out[i * d + j] = common + uniform() * (j + 1) + 3 * j;
  }
  return out;
}

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.is(actual.length, expected.length, what);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
  assert.ok(worst <= tolerance, `${what}: off by ${worst}`);
}

test('Cholesky: L Lᵀ = A, solve and inverse; a matrix that is not positive definite is refused', () => {
  const n = 7;
  const a = Float64Array.from({ length: n * n }, (_, i) => {
    const [r, c] = [Math.floor(i / n), i % n];
    return (r === c ? n : 0) + Math.cos(r - c);
  });
  const l = cholesky(a, n);
  const product = (x: Float64Array, y: Float64Array, transposeY: boolean): Float64Array =>
    Float64Array.from({ length: n * n }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < n; k++) {
        sum += x[Math.floor(i / n) * n + k]! * (transposeY ? y[(i % n) * n + k]! : y[k * n + (i % n)]!);
      }
      return sum;
    });
  const identity = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  near(product(l, l, true), a, 1e-13, 'L Lᵀ');
  near(product(a, choleskySolve(l, identity, n, n), false), identity, 1e-13, 'A A⁻¹');
  near(product(l, invertLower(l, n), false), identity, 1e-13, 'L L⁻¹');
  try {
    cholesky([1, 2, 2, 1], 2);
    assert.unreachable('no error');
  } catch (error) {
    assert.is((error as EliError).code, 'ARGUMENT');
    assert.match((error as EliError).message, /pivot 1 is -3/);
  }
});

test('mean and scatter of more rows than one product takes, against float64', async () => {
  const [n, d] = [5000, 3];
  const values = samples(n, d, 5);
  const x = tensor(engine, values, [n, d]);
  const mean = [0, 1, 2].map((j) => values.reduce((sum, v, i) => sum + (i % d === j ? v : 0), 0) / n);
  near(await meanRow(x), mean, 1e-4, 'mean');
  const expected = new Float64Array(d * d);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < d * d; j++) {
      const [a, b] = [Math.floor(j / d), j % d];
      expected[j]! += (values[i * d + a]! - mean[a]!) * (values[i * d + b]! - mean[b]!);
    }
  }
  const found = await scatter(x, x);
  for (let j = 0; j < d * d; j++) assert.ok(Math.abs(found[j]! / expected[j]! - 1) < 1e-5, `scatter ${j}`);
  x.dispose();
});

test('the ridge map recovers an affine map, as the closed form in float64 does', async () => {
  const [n, d] = [600, 5];
  const current = samples(n, d, 3);
  const previous = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    for (let o = 0; o < d; o++) {
      let value = o - 2;
      for (let j = 0; j < d; j++) value += Math.sin(o * 3 + j) * current[i * d + j]!;
      previous[i * d + o] = value;
    }
  }
  const pairs = { previous: tensor(engine, previous, [n, d]), current: tensor(engine, current, [n, d]) };
  const exact = await fitMap('ridge', pairs);
  const aligned = exact.align(pairs.current);
  near(await aligned.readFloats(), previous, 0.02, 'an exact affine relation, λ of 1e-4');
  assert.is(exact.latent, d);

  // The mean shift moves the mean to the mean, whatever else is wrong.
  const shift = await fitMap('mean-shift', pairs);
  const moved = shift.align(pairs.current);
  near(await meanRow(moved), await meanRow(pairs.previous), 1e-3, 'mean after the mean shift');

  // Saved and made again they are the same.
  for (const map of [exact, shift]) {
    const path = join(folder, `${map.name}.safetensors`);
    await map.save(path);
    using again = await loadMap(engine, path);
    assert.is(again.latent, d);
    assert.is(again.energy, undefined);
    const [a, b] = [map.align(pairs.current), again.align(pairs.current)];
    assert.equal(await a.readFloats(), await b.readFloats(), map.name);
    for (const t of [a, b]) t.dispose();
  }
  for (const t of [aligned, moved, ...Object.values(pairs)]) t.dispose();
});

test('the ridge map of small latents is that of large ones: its ridge follows their scale', async () => {
  const [n, d, small] = [300, 5, 1e-3];
  const [x, y] = [samples(n, d, 3), samples(n, d, 4)];
  const aligned = async (scale: number): Promise<Float32Array> => {
    const scaled = (values: Float32Array) =>
      tensor(
        engine,
        values.map((v) => v * scale),
        [n, d],
      );
    const current = scaled(x);
    return (await fitMap('ridge', { previous: scaled(y), current })).align(current).readFloats();
  };
  const large = await aligned(1);
  near(
    (await aligned(small)).map((v) => v / small),
    large,
    1e-3,
    'scaled',
  );
});

test('a dimension that never moves and pairs that do not fit', async () => {
  const x = tensor(engine, [1, 5, 2, 5, 3, 5, 4, 5], [4, 2]);
  const y = tensor(engine, [2, 1, 4, 1, 6, 1, 8, 1], [4, 2]);
  const ridge = await fitMap('ridge', { previous: y, current: x });
  const aligned = ridge.align(x);
  near(await aligned.readFloats(), [2, 1, 4, 1, 6, 1, 8, 1], 1e-3, 'with a dead dimension');
  const short = randomNormal(engine, [3, 2], { seed: 1, stream: 1 });
  for (const name of NAMES) {
    try {
      await fitMap(name, { previous: short, current: x });
      assert.unreachable('no error');
    } catch (error) {
      assert.is((error as EliError).code, 'SHAPE');
      assert.match((error as EliError).message, /do not pair up/);
    }
  }
  for (const t of [x, y, aligned, short]) t.dispose();
});

test('every class with the shape of a map is in the table of its kind, and its file is read back as that class', async () => {
  const maps = await exportedClasses(
    'eli',
    ({ prototype, name }) => 'align' in prototype && name !== ClosedForm.name,
  );
  const known = [EnergyAligner, ...Object.values(CLOSED_FORMS)];
  assert.equal([...maps.keys()].sort(), known.map(({ name }) => name).sort());

  const pairs = {
    previous: randomNormal(engine, [64, 4], { seed: 1, stream: 1 }),
    current: randomNormal(engine, [64, 4], { seed: 1, stream: 2 }),
  };
  const options = { iterations: 2, batch: 16, hidden: 8, steps: 2 };
  const fitted: LatentMap[] = [await EnergyAligner.fit(engine, pairs, options)];
  for (const name of NAMES) {
    const map = await fitMap(name, pairs);
    assert.is(map.name, name);
    assert.instance(map, CLOSED_FORMS[name]);
    fitted.push(map);
  }
  const formats = new Set<string | undefined>();
  for (const map of fitted) {
    const path = join(folder, 'map.safetensors');
    await map.save(path);
    formats.add((await readSafetensors(path)).metadata.format);
    using again = await loadMap(engine, path);
    assert.is(again.constructor, map.constructor);
    assert.is(again.latent, 4);
    assert.is(again.energy === undefined, map.energy === undefined);
    const [a, b] = [map, again].map((m) => m.align(pairs.current));
    assert.equal(await a!.readFloats(), await b!.readFloats(), map.constructor.name);
    for (const t of [a!, b!]) t.dispose();
    map.dispose();
  }
  assert.equal([...formats].sort(), Object.keys(mapReaders(engine)).sort());
  for (const t of Object.values(pairs)) t.dispose();
});

test('files that hold no map, or not all of one', async () => {
  const path = join(folder, 'bad.safetensors');
  const bias = { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) } as const;
  const weight = { dtype: 'F32', shape: [2, 3], data: new Float32Array(6) } as const;
  for (const [metadata, tensors, pattern] of [
    [{}, {}, /bad\.safetensors .* is missing, expected "eli-webgpu aligner" or "eli-webgpu control"/],
    [{ format: 'eli-webgpu gate' }, {}, /"eli-webgpu gate"/],
    [{ format: 'toString' }, {}, /"toString"/],
    [{ format: 'eli-webgpu aligner' }, {}, /not a complete eli-webgpu aligner: latent is missing/],
    [{ format: 'eli-webgpu control' }, {}, /no control "", known: ridge, mean-shift/],
    [{ format: 'eli-webgpu control', control: 'valueOf' }, {}, /no control "valueOf"/],
    [
      { format: 'eli-webgpu control', control: 'mean-shift' },
      {},
      /tensor shift of the mean-shift map is missing/,
    ],
    [
      { format: 'eli-webgpu control', control: 'ridge' },
      { 'control.bias': bias },
      /tensor weight of the ridge map is missing/,
    ],
    [
      { format: 'eli-webgpu control', control: 'ridge' },
      { 'control.bias': bias, 'control.weight': weight },
      /tensor weight of the ridge map has shape \[2, 3\], must be \[2, 2\]/,
    ],
  ] as const) {
    await writeSafetensors(path, tensors, metadata);
    await fails(() => loadMap(engine, path), 'FORMAT', pattern);
  }
});

test.run();
