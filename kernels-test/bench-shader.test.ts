// `eli bench --shader`: the example of bench/README.md as it stands, the values a check gets, and what is said of slips.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { BenchRow } from '../src/bench/measure.ts';
import { reordered } from '../src/bench/reorder.ts';
import { type ShaderSettings, type ShaderSpec, shaderWorkloads } from '../src/bench/shader.ts';
import { EliError } from '../src/errors.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'eli-shader-'));
test.after(async () => {
  rmSync(folder, { recursive: true });
  await closeEngine();
});

const put = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const nothing: ShaderSettings = { size: {}, fill: {}, param: {}, override: {}, const: {} };
let files = 0;
/** A shader of this text. */
function spec(text: string, own: Partial<ShaderSettings>, shared: Partial<ShaderSettings> = {}): ShaderSpec {
  const name = `k${files++}.wgsl`;
  return {
    file: put(name, text),
    name,
    own: { ...nothing, ...own },
    shared: { ...nothing, ...shared },
  };
}

/** Prepares the shaders and runs their checks. */
async function checkAll(...specs: ShaderSpec[]): Promise<string[]> {
  const workloads = await shaderWorkloads(engine, specs);
  for (const workload of workloads) {
    const prepared = await workload.prepare(engine);
    try {
      await prepared.check?.();
      await prepared.run(1);
      await engine.sync();
    } finally {
      prepared.dispose();
    }
  }
  return workloads.map(({ name }) => name);
}

async function failure(...specs: ShaderSpec[]): Promise<EliError> {
  try {
    await checkAll(...specs);
  } catch (error) {
    if (error instanceof EliError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const cli = join(root, 'src/cli/eli.mjs');
const bench = (...flags: string[]) =>
  spawnSync(process.execPath, [cli, 'bench', ...flags], { encoding: 'utf8', cwd: folder });

const check = (body: string): string => put(`check${files++}.mjs`, `export default (given) => { ${body} };`);

test('the example of bench/README.md', () => {
  const text = readFileSync(join(root, 'bench/README.md'), 'utf8');
  const section = text.slice(text.indexOf('## Your own WGSL'));
  const block = (language: string): string => {
    const found = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(section)?.[1];
    assert.ok(found !== undefined, `a block of ${language}`);
    return found;
  };
  put('saxpy.wgsl', block('wgsl'));
  put('saxpy.check.mjs', block('js'));
  const flags = block('sh').replaceAll('\\\n', ' ').trim().split(/\s+/);
  assert.equal(flags.splice(0, 3), ['npx', 'eli', 'bench']);
  const eli = (...more: string[]) =>
    spawnSync(process.execPath, [join(root, 'src/cli/eli.mjs'), 'bench', ...flags, '--time', '50', ...more], {
      encoding: 'utf8',
      cwd: folder,
    });
  const done = eli('--json', 'rows.json');
  assert.is(done.status, 0, done.stderr);
  const { rows } = JSON.parse(readFileSync(join(folder, 'rows.json'), 'utf8')) as { rows: BenchRow[] };
  assert.equal(
    rows.map(({ name }) => name),
    ['shader: saxpy.wgsl', 'shader: saxpy.wgsl WIDTH=256'],
  );
  for (const row of rows) {
    assert.ok(Math.abs(row.gflops! * row.median * 1e6 - 2097152) < 1);
    assert.ok(Math.abs(row.gbs! * row.median * 1e6 - 12582912) < 1);
  }
  assert.ok(rows[1]!.ratio! > 0);

  put('saxpy.wgsl', block('wgsl').replace('params.a *', 'params.a +'));
  const wrong = eli();
  assert.is(wrong.status, 1);
  assert.match(
    wrong.stderr,
    /saxpy\.wgsl: y\[0\] is \S+, expected \S+; \d+ of 1048576 are wrong, the worst: \[/,
  );
  assert.not.match(wrong.stdout, /launches/);
});

/** Types of every kind that has holes or an order of its own in memory. */
const LAYOUTS = `
  override K: u32 = 1;
  @id(7) override L: f32 = 1;
  struct Params { n: u32, v: vec3f, m: mat2x3f, last: i32, list: array<vec4u, 2> }
  struct Pair { a: u32, b: vec2f }
  struct Tail { count: atomic<u32>, data: array<Pair> }
  @group(0) @binding(3) var<storage, read_write> out: array<f32>;
  @group(0) @binding(0) var<uniform> params: Params;
  @group(0) @binding(1) var<uniform> factor: f32;
  @group(0) @binding(2) var<storage, read_write> tail: Tail;
  @group(0) @binding(4) var<storage, read> ids: array<vec3<i32>>;
  fn sum() -> f32 {
    let m = params.m;
    return f32(params.n) + dot(params.v, vec3f(1, 10, 100)) + dot(m[0], vec3f(1)) + 2 * dot(m[1], vec3f(1))
      + f32(params.last) + f32(params.list[1].w);
  }
  @compute @workgroup_size(1) fn other() { }
  @compute @workgroup_size(1) fn go() {
    out[0] = sum();
    out[1] = factor * f32(K) * L;
    out[2] = f32(arrayLength(&tail.data));
    out[3] = tail.data[4].b.y;
    out[4] = f32(ids[1].z);
    out[5] = f32(arrayLength(&ids));
    atomicAdd(&tail.count, 5u);
  }`;

test('uniforms, structs, padding and overrides arrive as the shader has them', async () => {
  const own: Partial<ShaderSettings> = {
    entry: 'go',
    groups: [1],
    size: { out: 6, tail: 5, ids: 2 },
    param: {
      'params.n': [3],
      v: [1, 2, 3],
      m: [1, 2, 3, 4, 5, 6],
      last: [-4],
      list: [0, 0, 0, 0, 0, 0, 0, 9],
      factor: [2.5],
    },
    fill: { tail: { low: 7, high: 7 } },
    override: { K: 3, L: 0.5 },
    check: check(`
      const { inputs: { ids, tail }, uniforms: { params: p, factor }, overrides } = given;
      if (ids.constructor !== Int32Array || ids.length !== 8 || tail.constructor !== Uint32Array) throw new Error('types');
      if (new Set([ids[0], ids[1], ids[2], ids[4], ids[5], ids[6]]).size < 3 || ids[3] !== 0) throw new Error('random');
      const words = tail.slice();
      words[0] += 5;
      const b = new Float32Array(tail.buffer);
      const sum = p.n + p.v[0] + 10 * p.v[1] + 100 * p.v[2] + 6 + 30 + p.last + p.list[7];
      return { out: [sum, factor * overrides.K * overrides.L, 5, b[2 + 4 * 4 + 3], ids[6], 2], tail: words };`),
  };
  await checkAll(spec(LAYOUTS, own));
  const wrong = await failure(spec(LAYOUTS, { ...own, check: check('return { tail: given.inputs.tail };') }));
  assert.match(wrong.message, /tail\[0\] is 12, expected 7; 1 of 22 are wrong/);
});

test('half precision is read and written', async () => {
  if (!engine.has('shader-f16')) return;
  const text = `enable f16;
    @group(0) @binding(0) var<storage, read> x: array<f16>;
    @group(0) @binding(1) var<storage, read_write> y: array<f16>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = 2 * x[id.x]; }`;
  const own = { groups: [2], size: { x: 128, y: 128 }, tolerance: 0 } as const;
  await checkAll(spec(text, { ...own, check: check('return { y: given.inputs.x.map((v) => 2 * v) };') }));
  // 1/3 and a subnormal, to the nearest half.
  const value = (low: number): Partial<ShaderSettings> => ({ ...own, fill: { x: { low, high: low } } });
  const expects = (v: number): string => check(`return { y: new Array(128).fill(${v}) };`);
  await checkAll(spec(text, { ...value(1 / 3), check: expects(2 * 0.333251953125) }));
  await checkAll(spec(text, { ...value(3.3 * 2 ** -24), check: expects(6 * 2 ** -24) }));
});

const FILL = `override V: f32 = 1;
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = V; }`;
const two = { groups: [2], size: { y: 128 } } as const;

test('settings for all go to the shaders that have the name, and give the same inputs', async () => {
  const copy = (from: string, to: string): string => `
    @group(0) @binding(0) var<storage, read> ${from}: array<f32>;
    @group(0) @binding(1) var<storage, read_write> ${to}: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { ${to}[id.x] = ${from}[id.x]; }`;
  const shared: Partial<ShaderSettings> = {
    size: { x: 64, y: 64, z: 64 },
    groups: [1],
    seed: 5,
    check: check(`
      globalThis.seen ??= given.inputs.x.join();
      if (globalThis.seen !== given.inputs.x.join()) throw new Error('other inputs');
      return { [Object.keys(given.inputs)[1]]: given.inputs.x };`),
  };
  await checkAll(spec(copy('x', 'y'), {}, shared), spec(copy('x', 'z'), {}, shared));
  const slip = await failure(spec(copy('x', 'y'), { groups: [1] }, { size: { x: 1, y: 1, q: 1 } }));
  assert.match(slip.message, /no shader has the runtime-sized storage array q\n {2}→ it has x, y/);
});

test('a file beside the shader can be included, and errors in it name it', async () => {
  const own = { ...two, check: check('return { y: new Float32Array(128).fill(7) };') };
  put('seven.wgsl', '\nfn seven() -> f32 { return 7.0; }\n');
  const text = `//!include ./seven.wgsl\n${FILL.replace('= V;', '= seven();')}`;
  await checkAll(spec(text, own));
  put('eight.wgsl', '\nfn seven() -> f32 { return 8u; }\n');
  const { code, message } = await failure(spec(text.replace('seven.wgsl', 'eight.wgsl'), own));
  assert.is(code, 'WGSL');
  assert.match(message, /eight\.wgsl:2:21: /);
});

test('what is wrong with a shader or its flags', async () => {
  const said = async (text: string, own: Partial<ShaderSettings>): Promise<string> =>
    (await failure(spec(text, own))).message;
  assert.match(await said(FILL.replace('= V', '= 1u'), two), /k\d+\.wgsl:3:\d+: .*u32/);
  assert.match(
    await said(`${FILL}\n@compute @workgroup_size(1) fn b() {}`, two),
    /several entry points: main, b/,
  );
  assert.match(await said(FILL, { ...two, entry: 'c' }), /no entry point c, but main/);
  assert.match(await said('fn f() {}', two), /no compute entry point/);
  assert.match(await said(FILL, { groups: [1] }), /buffer y has no size\n.*--size y=N/);
  assert.match(await said(FILL, { size: { y: 130 } }), /64 × 1 × 1 .*--groups 3$/);
  assert.match(
    await said(FILL, { ...two, size: { y: 1, z: 1 } }),
    /has no runtime-sized storage array z\n.*it has y/,
  );
  assert.match(await said(FILL, { ...two, override: { W: 1 } }), /has no override W\n.*it has V/);
  assert.match(await said(FILL, { ...two, fill: { q: { low: 0, high: 0 } } }), /has no storage buffer q/);
  assert.match(await said(FILL, { ...two, param: { n: [1] } }), /has no uniform n/);
  assert.match(await said(FILL, { ...two, const: { N: 1 } }), /declares no "const N/);
  assert.match(await said(FILL, { ...two, groups: [1e9] }), /over the limit/);
  assert.match(await said(FILL, { ...two, size: { y: 1e12 } }), /buffer y has 4000000000000 bytes, over/);
  assert.match(await said(FILL.replace('V: f32 = 1', 'V: f32'), two), /V/);
  assert.match(await said(FILL.replace('group(0)', 'group(1)'), two), /y is in group 1/);
  assert.match(
    await said(LAYOUTS, { entry: 'go', groups: [1], size: { out: 6, tail: 5, ids: 2 } }),
    /params\.n has no value/,
  );
  const uniform = `@group(0) @binding(1) var<uniform> n: vec2u;\n${FILL.replace('= V', '= f32(n.x)')}`;
  assert.match(await said(uniform, { ...two, param: { n: [1, 2, 3] } }), /n takes 2 numbers, 3 were given/);
  const checked = (body: string) => said(FILL, { ...two, check: check(body) });
  assert.match(await checked('return {};'), /returned no expected buffers/);
  assert.match(await checked('return { q: [1] };'), /has no storage buffer q/);
  assert.match(await checked('return { y: [1] };'), /returned 1 numbers for 128/);
  assert.match(await checked('return { y: new Array(128).fill(NaN) };'), /128 of 128 are wrong/);
  assert.match(
    await said(FILL, { ...two, check: put('none.mjs', 'export const x = 1;') }),
    /no default export/,
  );
  assert.match(await said(FILL, { ...two, check: join(folder, 'gone.mjs') }), /cannot be loaded/);
});

test("what the reflection cannot read: the compiler's answer is shown, and bindings may be given", async () => {
  const text = `const A = array(1, 2);
    @group(0) @binding(0) var<storage, read_write> y: array<u32, A[1]>;
    @compute @workgroup_size(1) fn main() { y[0] = 7; y[1] = 8; }`;
  const settings = { groups: [1], check: check('return { y: [7, 8] }') } as const;
  const { code, message } = await failure(spec(text, settings));
  assert.is(code, 'WGSL');
  assert.match(
    message,
    /:2: the reflection library .* cannot read this.*\n.*--bindings.*\nThe compiler \(Dawn\) accepts/,
  );
  const bindings = '@group(0) @binding(0) var<storage, read_write> y: array<u32, 2>;';
  await checkAll(spec(text, { ...settings, bindings }));
  await checkAll(spec(text, settings, { bindings }));
});

test('a wrong shader is a row, and the others are timed', () => {
  put('right.wgsl', FILL);
  put('broken.wgsl', FILL.replace('= V', '= 1u'));
  put('ones.mjs', 'export default () => ({ y: new Array(128).fill(1) });');
  const shared = ['--size', 'y=128', '--groups', '2', '--check', 'ones.mjs', '--time', '20'];
  const files = ['--shader', 'broken.wgsl', '--shader', 'right.wgsl', '--override', 'V=1'];
  const { status, stdout, stderr } = bench(
    ...[...shared, ...files, '--shader', 'right.wgsl', '--override', 'V=2', '--json', 'rows.json'],
  );
  assert.is(status, 1);
  assert.match(stdout, /shader: broken\.wgsl .*does not compile/);
  assert.match(stdout, /shader: right\.wgsl V=1 .*\d/);
  assert.match(stdout, /shader: right\.wgsl V=2 .*wrong/);
  assert.match(stderr, /broken\.wgsl:3:\d+: /);
  assert.match(stderr, /y\[0\] is 2, expected 1; 128 of 128 are wrong/);
  assert.match(stderr, /2 of 3 rows failed/);
  const { rows, failed } = JSON.parse(readFileSync(join(folder, 'rows.json'), 'utf8'));
  assert.equal(
    [rows, failed].map((list: { name: string }[]) => list.map(({ name }) => name)),
    [['shader: right.wgsl V=1'], ['shader: broken.wgsl', 'shader: right.wgsl V=2']],
  );
});

test('--picture says at once what it lacks', () => {
  put('right.wgsl', FILL);
  const flags = [
    '--size',
    'y=128',
    '--groups',
    '2',
    '--shader',
    'right.wgsl',
    '--flops',
    '1',
    '--time',
    '20',
  ];
  const lacking = bench(...flags, '--picture', 'roof');
  assert.is(lacking.status, 1);
  assert.match(
    lacking.stderr,
    /--picture has nothing to draw: right\.wgsl has no --bytes\n.*--flops N --bytes N/,
  );
  assert.is(lacking.stdout, '', 'nothing was measured');
  assert.match(
    bench(...flags, '--picture', 'no/such/roof').stderr,
    /cannot write .*no\/such\/roof\.svg: there is no such file or folder/,
  );
});

const KERNELS = {
  'who comes last': `y[0] = f32(group.x);`,
  'a missing barrier': `
    part[local] = f32(local);
    y[id.x] = part[(local + 1) % 64];`,
  'with the barrier': `
    part[local] = f32(local);
    workgroupBarrier();
    y[id.x] = part[(local + 1) % 64];`,
  'each its own': 'y[id.x] = f32(id.x + 1000 * group.x);',
  'integers added up': 'atomicAdd(&count, id.x);',
};
const kernel = (body: string): string => `
  const SIZE = 64;
  var<workgroup> part: array<f32, 64>;
  @group(0) @binding(0) var<storage, read_write> y: array<f32>;
  @group(0) @binding(1) var<storage, read_write> count: atomic<u32>;
  // A comment with a brace { and @workgroup_size(1)
  @compute @workgroup_size(SIZE, 1)
  fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32, @builtin( workgroup_id ) group : vec3u,
  ) { if (id.x == 4294967295u) { y[0] = part[0] + f32(atomicLoad(&count)); } ${body} }`;

test('a result that depends on the order of invocations is reported', async () => {
  const race = async (text: string, own: Partial<ShaderSettings>): Promise<string | undefined> => {
    const [workload] = await shaderWorkloads(engine, [spec(text, own)]);
    const prepared = await workload!.prepare(engine);
    try {
      return await prepared.race!();
    } finally {
      prepared.dispose();
    }
  };
  const own = { groups: [8], size: { y: 512 } } as const;
  const found = async (name: keyof typeof KERNELS) => race(kernel(KERNELS[name]), own);
  assert.match(
    (await found('who comes last'))!,
    /depends on the order of invocations: y\[0\] is \d+, and \d+ .* \(1 of 512 differ\)/,
  );
  assert.match((await found('a missing barrier'))!, /invocations of a workgroup in reverse order/);
  for (const name of ['with the barrier', 'each its own', 'integers added up'] as const)
    assert.is(await found(name), undefined, name);
  // Only the global number is used: it also runs in workgroups of half the size.
  assert.is(await race(FILL, two), undefined);
});

test('reordered texts mean the same', () => {
  const text = kernel(KERNELS['each its own']);
  const reversed = reordered(text, 'main', { reverse: 'workgroups' })!;
  assert.match(reversed, /let eli_group = eli_groups - vec3u\(1u\) - eli_group_given;/);
  assert.match(reversed, /let group = eli_group;/);
  assert.is(reordered(text, 'main', { halve: true }), undefined, 'it uses the number of its workgroup');
  assert.match(reordered(FILL, 'main', { halve: true })!, /@workgroup_size\(\(64\) \/ 2\) fn main\(/);
  const struct = FILL.replace('@builtin(global_invocation_id) id: vec3u', 'given: Given');
  assert.is(reordered(struct, 'main', {}), undefined);
  const subgroups = FILL.replace('= V', '= subgroupAdd(V)');
  assert.is(reordered(subgroups, 'main', { reverse: 'invocations' }), undefined);
});

test('--watch runs again when a shader is saved, also after one that does not compile', async () => {
  put('watched.wgsl', FILL);
  put('sevens.mjs', 'export default () => ({ y: new Array(128).fill(7) });');
  const flags = '--size y=128 --groups 2 --override V=7 --check sevens.mjs --time 20 --watch'.split(' ');
  const child = spawn(process.execPath, [cli, 'bench', '--shader', 'watched.wgsl', ...flags], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  const ended = once(child, 'close');
  const says = async (words: RegExp): Promise<void> => {
    const end = performance.now() + 60_000;
    while (!(words.test(text) && /waiting for a change/.test(text))) {
      assert.ok(performance.now() < end, text);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    text = '';
  };
  try {
    await says(/watched\.wgsl V=7 .*\d/);
    put('watched.wgsl', FILL.replace('= V', '= 1u'));
    await says(/watched\.wgsl:3:\d+: /);
    put('watched.wgsl', FILL.replace('= V', '= V + 1'));
    await says(/y\[0\] is 8, expected 7/);
    put('sevens.mjs', 'export default () => ({ y: new Array(128).fill(8) });');
    await says(/watched\.wgsl V=7 .*\d/);
    child.kill('SIGINT');
    const [code] = await ended;
    assert.is(code, 0, text);
  } finally {
    child.kill('SIGKILL');
  }
});

test('memory is given back, also after a failure', async () => {
  const before = engine.memory.inUse;
  await checkAll(spec(FILL, two), spec(FILL, two));
  await failure(spec(FILL, { ...two, check: check('return { y: [1] };') }));
  assert.is(engine.memory.inUse, before);
});

test('rows have names of their own', async () => {
  const one = spec(FILL, { ...two, override: { V: 2 } });
  assert.equal(await checkAll(one, one), [`shader: ${one.name} V=2`, `shader: ${one.name} V=2 (2)`]);
});

test.run();
