// Counter-based random numbers: published vectors, the device against the CPU bit for bit, and their distributions.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { empty, tensor } from '../src/tensor/create.ts';
import {
  bitsAt,
  permutation,
  philox,
  type RandomSource,
  randomBits,
  randomNormal,
  randomUniform,
} from '../src/tensor/random.ts';
import { compare } from './support/compare.ts';
import { temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

type Source = RandomSource & { readonly step?: number };

/** counter, key, words: kat_vectors of Random123 for philox4x32 with 10 rounds. */
const KNOWN = [
  ['00000000 00000000 00000000 00000000', '00000000 00000000', '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
  ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff', '408f276d 41c83b0e a20bc7c6 6d5451fd'],
  ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0', 'd16cfe09 94fdcceb 5001e420 24126ea1'],
].map((row) => row.map((words) => words.split(' ').map((word) => Number.parseInt(word, 16))));

/** Philox4x32-10 as the paper has it, with whole numbers of any size. */
function philoxBig(counter: readonly number[], key: readonly number[]): number[] {
  const mask = 0xffffffffn;
  let c = counter.map(BigInt);
  let k = key.map(BigInt);
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c[0]!;
    const p1 = 0xcd9e8d57n * c[2]!;
    c = [(p1 >> 32n) ^ c[1]! ^ k[0]!, p1 & mask, (p0 >> 32n) ^ c[3]! ^ k[1]!, p0 & mask];
    k = [(k[0]! + 0x9e3779b9n) & mask, (k[1]! + 0xbb67ae85n) & mask];
  }
  return c.map(Number);
}

const KERNEL = `//!include lib/philox.wgsl
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= params.n) {
    return;
  }
  let at = 6u * i;
  let words = philox(vec4u(x[at], x[at + 1u], x[at + 2u], x[at + 3u]), vec2u(x[at + 4u], x[at + 5u]));
  for (var j = 0u; j < 4u; j++) {
    y[4u * i + j] = words[j];
  }
}
`;

test("Philox's known answers, on the device and on the CPU", async () => {
  for (const [counter, key, words] of KNOWN) assert.equal(philoxBig(counter!, key!), words);
  const file = join(temporaryFolder(), 'known.wgsl');
  writeFileSync(file, KERNEL);
  const x = tensor(engine, Uint32Array.from(KNOWN.flatMap(([counter, key]) => [...counter!, ...key!])));
  const y = empty(engine, [KNOWN.length * 4], 'u32');
  engine.run(file, { storages: [x.storage, y.storage], params: { n: KNOWN.length }, groups: [1] });
  assert.equal(
    [...(await y.read())],
    KNOWN.flatMap(([, , words]) => words!),
  );
  assert.equal([...philox([0, 0, 0, 0], 0)], KNOWN[0]![2]);
});

test('philox on the CPU equals the paper for counters and seeds of every size', () => {
  const seeds = [0, 1, 0xffffffff, 2 ** 32, 2 ** 40 + 12345, 2 ** 52 - 1, Number.MAX_SAFE_INTEGER];
  for (const [i, seed] of seeds.entries()) {
    for (let k = 0; k < 50; k++) {
      const word = (j: number): number => Math.imul(0x9e3779b9, 4 * (50 * i + k) + j) >>> 0;
      const counter = k === 0 ? [-1 >>> 0, -1 >>> 0, -1 >>> 0, -1 >>> 0] : [0, 1, 2, 3].map(word);
      assert.equal(
        [...philox(counter as [number, number, number, number], seed)],
        philoxBig(counter, [seed % 2 ** 32, Math.floor(seed / 2 ** 32)]),
        `seed ${seed}, counter ${counter}`,
      );
    }
  }
});

const SOURCES: readonly Source[] = [
  { seed: 0 },
  { seed: 1, stream: 2, step: 3 },
  { seed: 0xffffffff, stream: 0xffffffff, step: 0xffffffff },
  { seed: 2 ** 40 + 5, stream: 7 },
  { seed: Number.MAX_SAFE_INTEGER, step: 9 },
];

for (const source of SOURCES) {
  test(`device equals CPU bit for bit: ${JSON.stringify(source)}`, async () => {
    for (const n of [1, 3, 4, 7, 129, 1025]) {
      const bits = Array.from({ length: n }, (_, i) => bitsAt(source, i));
      const uniforms = bits.map((word) => (word >>> 8) / 2 ** 24);
      const [onDevice, floats] = engine.tidy(() => [
        randomBits(engine, [n], source),
        randomUniform(engine, [n], source),
      ]);
      assert.equal([...(await onDevice!.read())], bits);
      assert.equal([...(await floats!.readFloats())], uniforms);
    }
  });
}

test('seed, stream and step each choose other numbers, the high half of the seed too', async () => {
  const sources: Source[] = [
    { seed: 5 },
    { seed: 5 + 2 ** 32 },
    { seed: 5 + 2 ** 52 },
    { seed: 6 },
    { seed: 5, stream: 1 },
    { seed: 5, step: 1 },
  ];
  const drawn = await Promise.all(
    sources.map(async (source) => (await randomBits(engine, [8], source).read()).join()),
  );
  assert.is(new Set(drawn).size, sources.length);
});

test('shape does not matter, only the place', async () => {
  const flat = await randomBits(engine, [60], { seed: 4 }).read();
  assert.equal([...(await randomBits(engine, [3, 4, 5], { seed: 4 }).read())], [...flat]);
});

test('a step on the device is that step, and is read when the kernel runs', async () => {
  const counter = tensor(engine, Uint32Array.of(7));
  const program = engine.capture(() => randomBits(engine, [33], { seed: 9, stream: 1, step: counter }));
  for (const step of [7, 4_000_000_000]) {
    counter.write([step]);
    program.run();
    const want = Array.from({ length: 33 }, (_, i) => bitsAt({ seed: 9, stream: 1, step }, i));
    assert.equal([...(await program.result.read())], want, `step ${step}`);
    const given = randomBits(engine, [33], { seed: 9, stream: 1, step });
    assert.equal([...(await given.read())], want, `step ${step} as a number`);
  }
  program.dispose();
});

/** Box–Muller in float64 on the words of a draw. */
function normalsOf(source: Source, n: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    const first = i - (i % 2);
    const u1 = ((bitsAt(source, first) >>> 8) + 1) / 2 ** 24;
    const angle = (2 * Math.PI * (bitsAt(source, first + 1) >>> 8)) / 2 ** 24;
    return Math.sqrt(-2 * Math.log(u1)) * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
  });
}

/** One draw for the tests of normals. */
const COUNT = 100_000;
const NORMAL: Source = { seed: 11, stream: 3 };

test('normals are within a few ulp of Box–Muller in float64', async () => {
  const got = await randomNormal(engine, [COUNT], NORMAL).readFloats();
  // The logarithm and the root are within 3 ulp; sine and cosine within 1e-7, times a radius of at most 5.8.
  compare(got, normalsOf(NORMAL, COUNT), { abs: 5e-7, rel: 4e-7 }, 'normals');
});

test('normals have the asked mean, deviation, tails and no correlation', async () => {
  const got = await randomNormal(engine, [COUNT], NORMAL, 3, 2).readFloats();
  const z = got.map((v) => (v - 3) / 2);
  const moment = (f: (v: number, i: number) => number): number =>
    z.reduce((s, v, i) => s + f(v, i), 0) / COUNT;
  const error = (variance: number): number => 4 * Math.sqrt(variance / COUNT);
  const near = (value: number, want: number, variance: number, what: string): void =>
    assert.ok(Math.abs(value - want) < error(variance), `${what} is ${value}, expected ${want}`);
  near(
    moment((v) => v),
    0,
    1,
    'mean',
  );
  near(
    moment((v) => v * v),
    1,
    2,
    'variance',
  );
  near(
    moment((v) => v ** 3),
    0,
    15,
    'third moment',
  );
  near(
    moment((v) => v ** 4),
    3,
    96,
    'fourth moment',
  );
  near(
    moment((v, i) => v * z[(i + 1) % COUNT]!),
    0,
    1,
    'product of neighbours',
  );
  near(
    moment((v) => Number(Math.abs(v) > 2)),
    0.0455,
    0.0455 * 0.9545,
    'share beyond 2',
  );
});

test('uniforms stay in their range and fill it evenly', async () => {
  const got = await randomUniform(engine, [COUNT], { seed: 12 }, -2, 6).readFloats();
  const cells = new Array<number>(16).fill(0);
  for (const v of got) cells[Math.floor((v + 2) * 2)]!++;
  assert.is(
    cells.reduce((a, b) => a + b, 0),
    COUNT,
  );
  const expected = COUNT / 16;
  const chi2 = cells.reduce((s, n) => s + (n - expected) ** 2 / expected, 0);
  // Chi-squared with 15 degrees of freedom: above 44 once in 10,000 seeds, and the seed is fixed.
  assert.ok(chi2 < 44, `chi-squared ${chi2}`);
});

test('permutation: every number once, none preferred anywhere', () => {
  for (const n of [1, 2, 5, 1000]) {
    const order = permutation(n, { seed: 1, stream: 4 });
    assert.equal(
      [...order].sort((a, b) => a - b),
      Array.from({ length: n }, (_, i) => i),
    );
  }
  const [n, rounds] = [5, 20_000];
  const counts = new Array<number>(n * n).fill(0);
  for (let step = 0; step < rounds; step++)
    permutation(n, { seed: 2 ** 35 + 1, step }).forEach((value, place) => {
      counts[n * place + value]!++;
    });
  const expected = rounds / n;
  const chi2 = counts.reduce((s, c) => s + (c - expected) ** 2 / expected, 0);
  // 16 degrees of freedom: above 46 once in 10,000 seeds, and the seed is fixed.
  assert.ok(chi2 < 46, `chi-squared ${chi2}`);
});

test.run();
