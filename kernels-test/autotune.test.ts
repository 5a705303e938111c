// The autotuner: what it measures, what it must refuse, what it takes, and its file.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { autotune, launchesOf, loadTuning, timeVariants } from '../src/bench/autotune.ts';
import { parseTuning } from '../src/bench/tuning-file.ts';
import { choices, observeLaunches, type Problem, type Variant } from '../src/ops/core/variants.ts';
import { matmul } from '../src/ops/matmul.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const folder = temporaryFolder();
test.after(closeEngine);
test.before.each(() => choices(engine).clear());

const a = engine.keep(randomNormal(engine, [33, 40], { seed: 1 }));
const b = engine.keep(randomNormal(engine, [40, 36], { seed: 2 }));
const product = () => matmul(a, b);
const TIME = { time: 5 };

test('a variant that is wrong, or does not compile, is refused however fast it is', async () => {
  const [launched] = await launchesOf(() => engine.tidy(() => void product()));
  const bad = join(folder, 'bad.wgsl');
  writeFileSync(
    bad,
    '@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1)\nfn main() { y[0] = 1u; }\n',
  );
  const broken: Variant<Problem>[] = [
    { name: 'does nothing', supports: () => true, launch: () => {} },
    {
      name: 'does not compile',
      supports: () => true,
      launch: ({ output }) => engine.run(bad, { storages: [output.storage], groups: [1] }),
    },
    {
      name: 'throws',
      supports: () => true,
      launch: () => engine.run('no/such.wgsl', { storages: [], groups: [1] }),
    },
  ];
  const { family, problem, key } = launched!;
  const variants = [...family.variants, ...broken];
  const before = engine.memory.inUse;
  const [timings] = await timeVariants(engine, [{ key, problem, family: { ...family, variants } }], TIME);
  assert.is(engine.memory.inUse, before, 'memory is given back');
  const refused = new Map(
    timings!.variants.flatMap((v) => (v.refused ? [[v.name, v.refused] as const] : [])),
  );
  assert.is(refused.size, 3, [...refused.values()].join('\n'));
  assert.match(refused.get('does nothing')!, /wrong by 1\.0e\+0/);
  assert.match(refused.get('does not compile')!, /bad\.wgsl:3/);
  assert.match(refused.get('throws')!, /no\/such\.wgsl/);
  assert.not(refused.has(timings!.best));
  // The engine is as good as before.
  const c = product();
  assert.ok((await c.readFloats()).every(Number.isFinite));
  c.dispose();
});

test('the best is taken from then on, kept in the file, and not measured again', async () => {
  const cache = join(folder, 'tuning.json');
  const other = { version: 1, adapters: { 'another | 1.0': { 'matmul: x': 'tiled' } } };
  writeFileSync(cache, JSON.stringify(other));
  const [timings, ...rest] = await autotune(engine, product, { ...TIME, cache });
  assert.is(rest.length, 0);
  const times = timings!.variants.flatMap((v) => v.milliseconds ?? []);
  assert.ok(times.length > 5 && times.every((ms) => ms > 0));
  const best = timings!.variants.find((v) => v.name === timings!.best)!;
  assert.ok(best.milliseconds! <= 1.05 * Math.min(...times), 'the fastest, or the rule where it is as fast');

  const written = JSON.parse(readFileSync(cache, 'utf8'));
  assert.equal(written.adapters['another | 1.0'], other.adapters['another | 1.0']);
  const mine = `${engine.adapter.name} | ${engine.adapter.driver}`;
  assert.equal(written.adapters[mine], { [timings!.key]: timings!.best });

  choices(engine).clear();
  assert.equal(await autotune(engine, product, { cache }), [], 'known');
  choices(engine).clear();
  assert.is(await loadTuning(engine, cache), 1);
  let taken = '';
  observeLaunches((_, __, variant) => {
    taken = variant.name;
  });
  product().dispose();
  observeLaunches(undefined);
  assert.is(taken, timings!.best);
});

test('a choice that does not fit, or is not known any more, gives way to the rule', async () => {
  const [launched] = await launchesOf(() => engine.tidy(() => void product()));
  const want = await valuesOf(product);
  for (const name of ['split-K 16, registers 16×32 of 2×2', 'a variant of long ago']) {
    choices(engine).set(launched!.key, name);
    assert.equal(await valuesOf(product), want, name);
  }
});

async function valuesOf(fn: typeof product): Promise<Float32Array> {
  const t = fn();
  const values = await t.readFloats();
  t.dispose();
  return values;
}

test('files that are no tuning files are refused, and left as they are', async () => {
  const wrong: [string, RegExp][] = [
    ['', /JSON/],
    ['[1]', /not a JSON object/],
    ['{"version": 7, "adapters": {}}', /version is 7, not 1/],
    ['{"version": 1}', /no "adapters"/],
    ['{"version": 1, "adapters": {"x": 3}}', /part for x/],
    ['{"version": 1, "adapters": {"x": {"matmul: y": 3}}}', /variant of matmul: y/],
    ['{"version": 1, "version": 1, "adapters": {}}', /"version" twice/],
  ];
  for (const [text, pattern] of wrong) {
    const path = join(folder, 'wrong.json');
    writeFileSync(path, text);
    await fails(() => loadTuning(engine, path), 'FORMAT', pattern, /wrong\.json/);
    await fails(() => autotune(engine, product, { cache: path }), 'FORMAT', pattern);
    assert.is(readFileSync(path, 'utf8'), text);
  }
  await fails(() => loadTuning(engine, join(folder, 'none.json')), 'FILE', /none\.json/);
  assert.not(existsSync(join(folder, 'none.json')));
  const polluted = parseTuning(
    new TextEncoder().encode('{"version": 1, "adapters": {"__proto__": {"polluted": "yes"}}}'),
    'x',
  );
  assert.equal(Object.entries(polluted), [['__proto__', { polluted: 'yes' }]]);
  assert.is(({} as Record<string, unknown>).polluted, undefined);
});

test.run();
