// .npy files: those of NumPy are read to the bit, ours are NumPy's to the byte, all others are refused and told why.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLatents } from '../src/files/latents.ts';
import { npyHeader, writeNpy } from '../src/files/npy.ts';
import { fails, sameBytes, temporaryFolder } from './support/data.ts';
import { fromBase64, NUMPY_FLOATS, NUMPY_NPY, NUMPY_ORDERS, npyBytes, readAll } from './support/latents.ts';

const folder = temporaryFolder();
let number = 0;

function file(bytes: Uint8Array): string {
  const path = join(folder, `${number++}.npy`);
  writeFileSync(path, bytes);
  return path;
}

const dict = (descr = "'<f4'", order = 'False', shape = '(2, 3)'): string =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`;

for (const [name, text] of Object.entries(NUMPY_NPY)) {
  test(`NumPy's file ${name} is read to the bit`, async () => {
    const path = file(fromBase64(text));
    const wanted = NUMPY_FLOATS[name.startsWith('f2') ? 'f2' : 'f4'];
    const { rows, dim, close } = await openLatents(path);
    await close();
    assert.equal([rows, dim], [2, 3]);
    const got = await readAll(path, 1);
    wanted.forEach((value, i) => {
      assert.ok(Object.is(got[i], value), `number ${i} is ${got[i]}, expected ${value}`);
    });
  });
}

test('headers as other writers have them', async () => {
  for (const text of [
    '{"shape":(2,3,),"fortran_order":False,"descr":"<f4"}',
    "  { 'fortran_order' : False , 'descr' : '<f4' , 'shape' : ( 2L , 3L ) }  \n\n",
    "{'descr': '<f4','fortran_order': False,\t'shape': (2, 3)\n}",
  ]) {
    assert.is((await readAll(file(npyBytes(text)))).length, 6, text);
  }
});

test('Fortran order and big-endian numbers, as NumPy writes them', async () => {
  for (const [name, base64] of Object.entries(NUMPY_ORDERS)) {
    const path = join(folder, `${name}.${name.startsWith('npz') ? 'npz' : 'npy'}`);
    writeFileSync(path, fromBase64(base64));
    const want = name.startsWith('f2') ? NUMPY_FLOATS.f2 : NUMPY_FLOATS.f4;
    for (const rows of [1, 2, 7])
      assert.equal([...(await readAll(path, rows))], [...want], `${name} by ${rows}`);
  }
});

test('columns of many blocks, by batches of any length', async () => {
  const [rows, dim] = [150_001, 64];
  const numbers = new Float32Array(rows * dim);
  for (let j = 0; j < dim; j++) for (let i = 0; i < rows; i++) numbers[j * rows + i] = i * dim + j;
  const path = file(npyBytes(dict("'<f4'", 'True', `(${rows}, ${dim})`), numbers));
  for (const batch of [1000, 65_536, rows]) {
    const all = await readAll(path, batch);
    // Whole numbers below 2^24 are exact.
    assert.is(
      all.findIndex((number, at) => number !== at),
      -1,
      `by ${batch}`,
    );
  }
  // A NaN is named by its row and column, as in C order.
  numbers[3 * rows + 41] = Number.NaN;
  const damaged = file(npyBytes(dict("'<f4'", 'True', `(${rows}, ${dim})`), numbers));
  await fails(() => readAll(damaged), 'NON_FINITE', /row 41, column 3 /);
});

const data = new Float32Array(6);
const REFUSED: readonly (readonly [name: string, bytes: Uint8Array, ...patterns: RegExp[]])[] = [
  ['wrong magic', npyBytes(dict(), data, { magic: '\x92NUMPY' }), /does not begin with/],
  ['an empty file', new Uint8Array(0), /does not begin with/],
  ['version 4.0', npyBytes(dict(), data, { version: [4, 0] }), /version 4.0, expected 1.0, 2.0 or 3.0/],
  ['version 1.1', npyBytes(dict(), data, { version: [1, 1] }), /version 1.1/],
  ['cut off in the prefix', npyBytes(dict()).slice(0, 9), /cut off in its header/],
  [
    'huge header length',
    npyBytes(dict(), data, { version: [2, 0], length: 0xffff_ffff }),
    /header of 4294967295 bytes/,
  ],
  ['header beyond the end', npyBytes(dict(), data, { length: 5000 }), /header of 5000 bytes, but only/],
  ['text that is not UTF-8', npyBytes("{'\xff': 1}", data, { version: [3, 0] }), /not UTF-8/],
  ['no dict', npyBytes('[1, 2]'), /not a Python dict/],
  ['code', npyBytes("__import__('os').system('x')"), /not a Python dict/],
  ['nested brackets without end', npyBytes(`{'descr': ${'['.repeat(60_000)}`), /not a Python dict/],
  ['a key twice', npyBytes("{'shape': (2, 3), 'shape': (2, 3)}"), /not a Python dict/],
  ['text behind', npyBytes(`${dict()}1`), /not a Python dict/],
  ['a key missing', npyBytes("{'shape': (2, 3), 'descr': '<f4'}"), /has the keys \["descr","shape"\]/],
  ['a key too many', npyBytes(dict().replace('}', "'x': True}")), /has the keys/],
  ['whole numbers', npyBytes(dict("'<i4'")), /holds "<i4", expected float16/, /→ write array.astype/],
  ['a byte order that is none', npyBytes(dict("'!f4'")), /holds "!f4"/],
  ['a number without an order', npyBytes(dict("'f4'")), /holds "f4"/],
  ['complex numbers', npyBytes(dict("'<c8'")), /"<c8"/],
  ['objects', npyBytes(dict("'|O'")), /"\|O"/],
  ['a structured dtype', npyBytes(dict("[('x', '<f4'), ('y', '<f4', (2,))]")), /structured dtype/],
  ['a prototype key as dtype', npyBytes(dict("'constructor'")), /"constructor"/],
  ['an order that is no truth', npyBytes(dict("'<f4'", '0')), /not a Python dict/],
  ['a shape that is no tuple', npyBytes(dict("'<f4'", 'False', "'6'")), /not a tuple/],
  [
    'a negative shape',
    npyBytes(dict("'<f4'", 'False', '(-2, -3)')),
    /shape \[-2,-3\], expected whole numbers/,
  ],
  ['a fraction', npyBytes(dict("'<f4'", 'False', '(2.5, 3)')), /not a Python dict/],
  ['a huge shape', npyBytes(dict("'<f4'", 'False', '(99999999999999999999, 3)')), /expected whole numbers/],
  [
    'a shape that overflows',
    npyBytes(dict("'<f4'", 'False', '(9007199254740991, 9007199254740991)')),
    /cut off/,
  ],
  [
    'a shape that overflows to zero in 64 bits',
    npyBytes(dict("'<f4'", 'False', '(4294967296, 4294967296)')),
    /cut off/,
  ],
  [
    '0 dimensions',
    npyBytes(dict("'<f4'", 'False', '()'), new Float32Array(1)),
    /shape \[\], expected \[n, d\]/,
  ],
  ['1 dimension', npyBytes(dict("'<f4'", 'False', '(6,)')), /shape \[6\], expected \[n, d\]/],
  ['3 dimensions', npyBytes(dict("'<f4'", 'False', '(1, 2, 3)')), /shape \[1, 2, 3\]/],
  ['no rows', npyBytes(dict("'<f4'", 'False', '(0, 3)'), new Float32Array(0)), /shape \[0, 3\]/],
  ['no columns', npyBytes(dict("'<f4'", 'False', '(3, 0)'), new Float32Array(0)), /shape \[3, 0\]/],
  [
    'rows of millions',
    npyBytes(dict("'<f2'", 'False', '(1, 1048577)'), new Uint16Array(1_048_577)),
    /at most 1048576/,
  ],
  [
    'data cut off',
    npyBytes(dict(), new Uint8Array(23)),
    /takes 24 bytes, the file has 23: the data is cut off/,
  ],
  ['data behind', npyBytes(dict(), new Uint8Array(25)), /the file has 25: other data follows/],
];
for (const [name, bytes, ...patterns] of REFUSED) {
  test(`refused: ${name}`, async () => {
    const path = file(bytes);
    await fails(() => readAll(path), 'FORMAT', new RegExp(path), ...patterns);
  });
}

test("what is written is NumPy's to the byte, in batches of any length", async () => {
  const path = join(folder, 'written.npy');
  const all = Float32Array.from(NUMPY_FLOATS.f4);
  await writeNpy(path, [2, 3], [all.subarray(0, 2), all.subarray(2, 2), all.subarray(2)]);
  sameBytes(readFileSync(path), fromBase64(NUMPY_NPY.f4v1));
});

test('headers of all shapes end at a multiple of 64', () => {
  for (const shape of [[], [5], [1_000_000, 64], [Number.MAX_SAFE_INTEGER, 1], [1, 2, 3, 4, 5, 6, 7]]) {
    const header = npyHeader(shape);
    assert.is(header.length % 64, 0);
    assert.is(header.at(-1), 10);
    assert.is(new DataView(header.buffer).getUint16(8, true), header.length - 10);
  }
  assert.match(Buffer.from(npyHeader([5])).toString('latin1'), "'shape': (5,), }");
});

test('numbers that do not fill the shape, or a source that fails: nothing is left', async () => {
  const dir = join(folder, 'left');
  mkdirSync(dir);
  const path = join(dir, 'x.npy');
  await fails(() => writeNpy(path, [2, 3], [new Float32Array(5)]), 'SHAPE', /5 numbers do not fill/);
  await fails(() => writeNpy(path, [2, 3], [new Float32Array(7)]), 'SHAPE', /7 numbers/);
  const own = new Error('own');
  try {
    await writeNpy(
      path,
      [2, 3],
      (async function* () {
        yield new Float32Array(3);
        throw own;
      })(),
    );
    assert.unreachable();
  } catch (error) {
    assert.is(error, own);
  }
  assert.equal(readdirSync(dir), []);
});

test('NaN and infinities are named by row and column', async () => {
  for (const [value, text] of [
    [Number.NaN, 'NaN'],
    [Number.NEGATIVE_INFINITY, '-Infinity'],
  ] as const) {
    const numbers = new Float32Array(300).fill(1);
    numbers[3 * 41 + 2] = value;
    const path = file(npyBytes(dict("'<f4'", 'False', '(100, 3)'), numbers));
    for (const rows of [1, 7, 41, 1000]) {
      await fails(() => readAll(path, rows), 'NON_FINITE', new RegExp(`row 41, column 2 .*is ${text}`));
    }
  }
  const large = file(npyBytes(dict("'<f8'"), Float64Array.of(0, 1, 2, 3, 4e38, 5)));
  await fails(() => readAll(large), 'NON_FINITE', /row 1, column 1 .*Infinity, expected a finite float32/);
});

test.run();
