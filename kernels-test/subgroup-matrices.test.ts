// The product on subgroup matrices (tensor cores), for which software drivers have no instructions: Dawn's null back end
// checks types and pipelines, and the kernel's own logic runs with the matrices replaced by arrays that every lane
// holds. On a device that has the instructions `variants` compares their results as those of all other variants.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { create } from 'webgpu';
import { SUBGROUP_MATRIX, type SubgroupMatrix } from '../src/gpu/adapter.ts';
import type { Engine, Launch } from '../src/gpu/engine.ts';
import { cast } from '../src/ops/core/cast.ts';
import { linear, matmul } from '../src/ops/matmul.ts';
import { MATMUL, matmulProblem } from '../src/ops/matmul-launch.ts';
import { expand, transpose } from '../src/ops/views.ts';
import { empty } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { FloatDType, Tensor } from '../src/tensor/tensor.ts';
import { loadShader } from '../src/wgsl/source.ts';
import { compare } from './support/compare.ts';
import { temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const FILE = 'matmul/matmul_matrices.wgsl';
const VARIANTS = MATMUL.variants.filter(({ name }) => name.startsWith('subgroup matrices'));

/** What devices offer: NVIDIA's and Apple's, and one of three different sizes. */
const PRODUCTS: readonly SubgroupMatrix[] = [
  { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 8, K: 32 },
  { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 },
  { componentType: 'f32', resultComponentType: 'f32', M: 8, N: 8, K: 8 },
];

/** For the arrays: small, since every lane holds them, and of different sizes. */
const SMALL: readonly SubgroupMatrix[] = [
  { componentType: 'f32', resultComponentType: 'f32', M: 4, N: 8, K: 12 },
  { componentType: 'f16', resultComponentType: 'f32', M: 8, N: 16, K: 8 },
];

test('Dawn accepts the kernel for each product, layout and result', async () => {
  const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
  const adapter = await gpu.requestAdapter();
  assert.ok(adapter?.features.has(SUBGROUP_MATRIX), 'the null back end has every feature');
  const requiredFeatures = [SUBGROUP_MATRIX, 'shader-f16', 'subgroups'] as GPUFeatureName[];
  const device = await adapter!.requestDevice({ requiredFeatures });
  const LANES = adapter!.info.subgroupMaxSize!;
  for (const { componentType, M, N, K } of PRODUCTS) {
    for (const Result of ['f32', 'f16'] as const) {
      const Real = componentType as FloatDType;
      const { code } = loadShader(FILE, { Real, Result, M, N, K, LANES, TM: 2, TN: 3 });
      const module = device.createShaderModule({ code });
      assert.equal([...(await module.getCompilationInfo()).messages], []);
      for (const constants of [
        { A_ALONG_K: 1, B_ALONG_K: 0 },
        { A_ALONG_K: 0, B_ALONG_K: 1 },
      ])
        await device.createComputePipelineAsync({ layout: 'auto', compute: { module, constants } });
    }
  }
  const wrong = loadShader(FILE, { M: 16, N: 16, K: 16, LANES: 3 });
  const module = device.createShaderModule({ code: wrong.code });
  let refused = false;
  await device.createComputePipelineAsync({ layout: 'auto', compute: { module } }).catch(() => {
    refused = true;
  });
  assert.ok(refused, 'the back end looks at what it is given: 3 lanes are no subgroup');
  device.destroy();
});

/** Matrices as arrays, element by element what the instructions do (Dawn raises short strides); every lane does the whole. */
const ARRAYS = `
// A length that compilers do not know: they would unroll loops into programs that take minutes to compile.
fn long(n: u32) -> u32 { return n * params.lanes / LANES; }
struct Left { x: array<array<f32, K>, M> }
struct Right { x: array<array<f32, N>, K> }
struct Sums { x: array<array<f32, N>, M> }
fn left_rows(start: u32, pitch: u32) -> Left {
  let stride = max(pitch, K);
  var y = Left();
  for (var i = 0u; i < long(M); i++) { for (var j = 0u; j < long(K); j++) { y.x[i][j] = f32(a[start + i * stride + j]); } }
  return y;
}
fn left_columns(start: u32, pitch: u32) -> Left {
  let stride = max(pitch, M);
  var y = Left();
  for (var i = 0u; i < long(M); i++) { for (var j = 0u; j < long(K); j++) { y.x[i][j] = f32(a[start + j * stride + i]); } }
  return y;
}
fn right_rows(start: u32, pitch: u32) -> Right {
  let stride = max(pitch, N);
  var y = Right();
  for (var i = 0u; i < long(K); i++) { for (var j = 0u; j < long(N); j++) { y.x[i][j] = f32(b[start + i * stride + j]); } }
  return y;
}
fn right_columns(start: u32, pitch: u32) -> Right {
  let stride = max(pitch, K);
  var y = Right();
  for (var i = 0u; i < long(K); i++) { for (var j = 0u; j < long(N); j++) { y.x[i][j] = f32(b[start + j * stride + i]); } }
  return y;
}
fn multiply_add(l: Left, r: Right, s: Sums) -> Sums {
  var left = l;
  var right = r;
  var y = s;
  for (var i = 0u; i < long(M); i++) {
    for (var j = 0u; j < long(N); j++) {
      for (var k = 0u; k < long(K); k++) { y.x[i][j] += left.x[i][k] * right.x[k][j]; }
    }
  }
  return y;
}
fn store(s: Sums) {
  var sums = s;
  for (var i = 0u; i < long(M); i++) { for (var j = 0u; j < long(N); j++) { finished[i * N + j] = sums.x[i][j]; } }
}
`;

function emulated(): string {
  const replaced: readonly (readonly [RegExp, string])[] = [
    [/^enable chromium_experimental_subgroup_matrix;$/m, ''],
    [/^alias Left = .*;$/m, ''],
    [/^alias Right = .*;$/m, ''],
    [/^alias Sums = .*;$/m, ARRAYS],
    [/subgroupMatrixLoad<Left, row_major>\(&a, /, 'left_rows('],
    [/subgroupMatrixLoad<Left, col_major>\(&a, /, 'left_columns('],
    [/subgroupMatrixLoad<Right, row_major>\(&b, /, 'right_rows('],
    [/subgroupMatrixLoad<Right, col_major>\(&b, /, 'right_columns('],
    [/subgroupMatrixMultiplyAccumulate\(/, 'multiply_add('],
    [/subgroupMatrixStore<row_major>\(&finished, 0u, (.*), N\);/, 'store($1);'],
  ];
  let { code } = loadShader(FILE);
  for (const [from, to] of replaced) {
    assert.match(code, from);
    code = code.replace(from, to);
  }
  const path = join(temporaryFolder(), 'emulated.wgsl');
  writeFileSync(path, code);
  return path;
}
const EMULATED = emulated();

/** The product by a variant, as if the engine had these subgroup matrices; undefined where it does not support it. */
function byArrays(
  variant: (typeof VARIANTS)[number],
  matrix: SubgroupMatrix,
  [a, b, bias]: readonly [Tensor, Tensor, Tensor | undefined],
  output: Tensor,
): boolean {
  const batch = output.shape.slice(0, -2);
  const problem = matmulProblem(a, b, bias, output, batch);
  const pretended = {
    adapter: { ...engine.adapter, subgroupMatrices: [matrix] },
    subgroupLanes: 4,
    run: (file: string, launch: Launch) => {
      assert.is(file, FILE);
      const storages = launch.storages.map((one) => (one === storage ? output.storage : one));
      engine.run(EMULATED, { ...launch, storages });
    },
  };
  const storage = { engine: pretended as unknown as Engine } as typeof output.storage;
  const pretending = { ...problem, output: { ...problem.output, storage } };
  if (!variant.supports(pretending)) return false;
  variant.launch(pretending);
  return true;
}

for (const matrix of SMALL.filter(
  ({ componentType }) => componentType === 'f32' || engine.has('shader-f16'),
)) {
  const dtype = matrix.componentType as FloatDType;
  const { M, N, K } = matrix;
  const shapes = [
    { m: M, n: N, k: K },
    { m: 2 * M + 8, n: 3 * N + 8, k: 2 * K },
    { m: 5 * M, n: N + 8, k: 3 * K, batch: 2 },
  ];
  test(`${M}×${N}×${K} of ${dtype}: layouts, remainders, batches and a bias`, async () => {
    for (const { m, n, k, batch } of shapes) {
      for (const [turnedA, turnedB] of [
        [false, false],
        [true, true],
      ]) {
        const random = (rows: number, columns: number, seed: number, turned = false): Tensor => {
          const shape = turned ? [columns, rows] : [rows, columns];
          const x = cast(
            randomNormal(engine, batch === undefined ? shape : [batch, ...shape], { seed }),
            dtype,
          );
          return turned ? transpose(x) : x;
        };
        const a = random(m, k, 1, turnedA);
        const b = random(k, n, 2, turnedB);
        const bias =
          batch === undefined && turnedB ? cast(randomNormal(engine, [n], { seed: 3 }), dtype) : undefined;
        const [x, y] = [cast(a, 'f32'), cast(b, 'f32')];
        const want = bias === undefined ? matmul(x, y) : linear(x, transpose(y), cast(bias, 'f32'));
        // The largest tile takes software drivers a minute to compile.
        for (const variant of VARIANTS.slice(0, 2)) {
          const output = empty(engine, want.shape, dtype);
          assert.ok(byArrays(variant, matrix, [a, b, bias], output), variant.name);
          const rel = dtype === 'f16' ? 2 ** -10 : 1e-5;
          const name = `${variant.name}, ${m}×${n}×${k} ${turnedA ? 'turned' : ''}`;
          compare(await output.readFloats(), await want.readFloats(), { abs: 1e-4, rel }, name);
        }
      }
    }
  });
}

test('products that they cannot compute are left to others', () => {
  const matrix = PRODUCTS[2]!;
  const output = (m: number, n: number): Tensor => empty(engine, [m, n]);
  const offered = (a: readonly number[], b: readonly number[]): boolean =>
    byArrays(VARIANTS[0]!, matrix, [empty(engine, a), empty(engine, b), undefined], output(a[0]!, b[1]!));
  assert.is(offered([8, 8], [8, 8]), true);
  assert.is(offered([7, 8], [8, 8]), false, 'fewer rows than a matrix has');
  assert.is(offered([8, 12], [12, 8]), false, 'k is no multiple');
  assert.is(offered([8, 8], [8, 9]), false, 'rows of B start between vectors');
  const dense = empty(engine, [8, 8]);
  const repeated = expand(empty(engine, [1, 8]), [8, 8]);
  for (const pair of [
    [repeated, dense],
    [dense, repeated],
    [transpose(repeated), dense],
    [dense, transpose(repeated)],
  ] as const)
    assert.is(byArrays(VARIANTS[0]!, matrix, [...pair, undefined], output(8, 8)), false, 'repeated rows');
});

test('a device without them says so, and none is taken', () => {
  if (engine.adapter.subgroupMatrices.length > 0) return;
  const [a, b] = [empty(engine, [16, 16]), empty(engine, [16, 16])];
  const problem = matmulProblem(a, b, undefined, empty(engine, [16, 16]), []);
  assert.not.ok(VARIANTS.some((variant) => variant.supports(problem)));
});

test.run();
