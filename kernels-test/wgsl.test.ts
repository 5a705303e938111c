// What is read from WGSL: every text here is compiled by Dawn too, so each is valid unless a test says otherwise.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reflectInterface } from '../src/wgsl/interface.ts';
import { tokensOf } from '../src/wgsl/tokens.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

/** Fails unless the compiler accepts the text. */
async function accepted(code: string): Promise<void> {
  engine.device.pushErrorScope('validation');
  engine.device.createShaderModule({ code });
  const error = await engine.device.popErrorScope();
  assert.is(error?.message, undefined, code);
}

const read = (code: string, entry?: string, bindings?: string) =>
  reflectInterface({ file: 'k.wgsl', code, origin: [], ...(bindings !== undefined && { bindings }) }, entry);

/** The bindings of an entry point, such as `x@0 y@1`. */
async function bound(code: string, entry?: string): Promise<string> {
  await accepted(code);
  return read(code, entry)
    .buffers.map(({ name, binding }) => `${name}@${binding}`)
    .join(' ');
}

const XY = `
  @group(0) @binding(0) var<storage, read> x: array<u32>;
  @group(0) @binding(1) var<storage, read_write> y: array<u32>;`;
const main = (body: string): string => `${XY}\n@compute @workgroup_size(1) fn main() { ${body} }`;

/** Bodies by the buffers that they use. */
const BODIES: Readonly<Record<string, readonly string[]>> = {
  'y@1': [
    'y[0] = 1;',
    'let x = 1u; y[x] = x;',
    'var x = array<u32, 2>(); y[0] = x[1];',
    'const x = 2u; y[0] = x;',
    'for (var x = 0u; x < 4; x++) { y[x] = x; }',
    '{ let x = 1u; y[x] = x; if (x > 0) { y[0] = x; } }',
    'var p: P; p.x = 1; y[0] = p.x;',
    '/* x /* nested */ x */ y[0] = 1; // x\n',
    'if (y[0] < 1) { let x = 1u; y[0] = x; } else { y[1] = 1; }',
    'y[0] = own(1u);',
    'y[0] = vec3u(1, 2, 3).x;',
  ],
  'x@0 y@1': [
    'y[0] = x[0];',
    'let x = x[0]; y[0] = x;',
    '{ let x = 1u; y[1] = x; } y[0] = x[0];',
    'for (var x = 0u; x < 4; x++) { y[x] = x; } y[0] = x[1];',
    'for (var i = 0u; i < 2; i++) { for (var x = 0u; x < 2; x++) { y[x] = 1; } y[i] = x[i]; }',
    'switch x[0] { case 1u { y[0] = 1; } default { y[0] = 2; } }',
    'loop { y[0] = 1; continuing { break if x[0] > 0; } }',
    'while x[0] > 1 { y[0] = 1; break; }',
    'y[0] = outer(1u);',
    'let own = 1u; y[own] = outer(own);',
    'let p = &x; y[0] = (*p)[0];',
    'y[arrayLength(&x) - 1] = 1u;',
    'if (y[0] < 1 || y[1] > x[0]) { y[0] = 1; }',
  ],
};
for (const [buffers, bodies] of Object.entries(BODIES)) {
  for (const body of bodies) {
    test(`${buffers} in ${body}`, async () => {
      const functions = `struct P { x: u32 }
        fn own(x: u32) -> u32 { return x; }
        fn outer(i: u32) -> u32 { return inner(i); }
        fn inner(i: u32) -> u32 { return x[i]; }`;
      assert.is(await bound(`${functions} ${main(body)}`), buffers);
    });
  }
}

test('two entry points with different buffers at one binding', async () => {
  const code = `
    @group(0) @binding(0) var<storage, read_write> a: array<f32>;
    @group(0) @binding(0) var<storage, read_write> b: array<vec4f>;
    @compute @workgroup_size(1) fn first() { a[0] = 1; }
    @compute @workgroup_size(2, 3) fn second() { b[0] = vec4f(); }`;
  assert.is(await bound(code, 'first'), 'a@0');
  assert.is(await bound(code, 'second'), 'b@0');
  assert.equal([...read(code, 'second').workgroup!], [2, 3, 1]);
});

/** Spellings of the type of `y`: its fixed bytes, and the stride of the elements of a runtime-sized array. */
const TYPES: readonly (readonly [type: string, bytes: number, stride?: number])[] = [
  ['array<f32,>', 0, 4],
  ['array<vec4<f32,>,>', 0, 16],
  ['array<array<array<f32, 4>, 4>>', 0, 64],
  ['array<array<array<f32,4>,4>,4>', 256],
  ['array<u32, 0x10u>', 64],
  ['array<u32, B * B>', 64],
  ['array<u32, (1 << 3u) | 1>', 36],
  ['array<u32, select(4, 5, 1 < 2)>', 20],
  ['array<u32, max(2u, 3u),>', 12],
  ['array<u32, vec2(2, 3).x>', 8],
  ['array<array<u32, B>>', 0, 16],
  ['S', 64, 16],
];
for (const [type, bytes, stride] of TYPES) {
  test(`the layout of ${type}`, async () => {
    const code = `const B = 4;
      struct S { @size(16) a: u32, @align(4 * 8) @size(16 + 16) b: array<u32, B - 1>, c: array<vec3<f32>> }
      @group(0) @binding(0) var<storage, read_write> y: ${type};
      @compute @workgroup_size(1) fn main() { _ = &y; }`;
    await accepted(code);
    const [y] = read(code).buffers;
    assert.is(y!.headBytes, bytes);
    assert.is(y!.element?.stride, stride);
  });
}

test('attributes may be expressions', async () => {
  const code = `const FIRST = 2; override W = 8u; @id(3 + 4) override V: u32;
    @group(FIRST - 2) @binding(max(FIRST, 1) + 1,) var<storage, read_write> y: array<u32>;
    @compute @workgroup_size(W / 2, FIRST, 1,) fn main() { y[0] = V; }
    @compute @workgroup_size(V) fn other() { y[0] = 1; }`;
  assert.is(await bound(code, 'main'), 'y@3');
  assert.equal([...read(code, 'main').workgroup!], [4, 2, 1]);
  assert.is(read(code, 'other').workgroup, undefined);
  assert.equal(
    [...read(code, 'main').overrides],
    [
      ['W', 'W'],
      ['V', '7'],
    ],
  );
});

test('line comments end at every line break of WGSL', async () => {
  for (const end of ['\n', '\v', '\f', '\r', '\r\n', '\u0085', '\u2028', '\u2029'])
    assert.is(await bound(main(`y[0] = 1; // ${end} y[0] = x[0];`)), 'x@0 y@1', JSON.stringify(end));
});

test('names that are words elsewhere', async () => {
  const code = `enable f16;
    ${XY}
    fn function(workgroup: u32) -> u32 { const_assert 1 < 2; let compute = workgroup; return compute; }
    @compute @workgroup_size(1) fn main() { y[0] = function(1u); }`;
  if (engine.device.features.has('shader-f16')) await accepted(code);
  assert.is(
    read(code)
      .buffers.map(({ name }) => name)
      .join(),
    'y',
  );
});

test('templates and shifts are told apart', () => {
  const ends = (text: string): number => tokensOf(text).filter((token) => token.endsTemplate).length;
  assert.is(ends('array<array<array<f32, 4>, 4>>'), 3);
  assert.is(ends('a < b; c > d'), 0);
  assert.is(ends('f(a < b, c > d)'), 1); // as the specification has it
  assert.is(ends('(a < b) > c'), 0);
  assert.is(ends('a < b && c > d'), 0);
  assert.is(ends('a << 1 >> 2'), 0);
  assert.is(ends('a <= b >= c'), 0);
  assert.is(ends('vec2<u32>(1) >> vec2<u32>(2)'), 2);
  assert.is(ends('array<u32, (1 >> 2)>()'), 1);
});

test('what cannot be read is said as such, with its place, and bindings may be given instead', async () => {
  const code = `const A = array(1, 2, 3);
@group(0) @binding(0) var<storage, read_write> y:
  array<u32, A[1]>;
@compute @workgroup_size(1) fn main() { y[0] = 1; }`;
  await accepted(code);
  await fails(
    () => read(code),
    'WGSL',
    /^k\.wgsl:3: the reflection library \(wgsl_reflect\) cannot read this, which may be valid: the length of an array A\[1\]/,
    /→ .*--bindings/,
  );
  const given = read(code, undefined, '@group(0) @binding(0) var<storage, read_write> y: array<u32, 2>;');
  assert.is(given.entry, 'main');
  assert.equal(
    given.buffers.map(({ name, headBytes, writable }) => [name, headBytes, writable]),
    [['y', 8, true]],
  );
  const wrong = '@group(0) @binding(0)\nvar<storage> y: array<u32, N>;';
  await fails(() => read(code, undefined, wrong), 'WGSL', /^the bindings given:2: .*length of an array N/);
});

test('any text is read or refused', async () => {
  for (const code of [
    '',
    '@',
    '@binding(',
    'fn',
    'fn f',
    'fn f(',
    '/*',
    'struct',
    'var<',
    '}{',
    '>>',
    '\ud800',
  ])
    await fails(() => read(code), 'WGSL');
});

test.run();
