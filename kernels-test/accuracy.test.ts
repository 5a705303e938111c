// Every elementwise function of one operand over the whole range of f32: 100,000 numbers of both signs that are dense in
// exponents, from subnormal ones to the largest, within the tolerance that its definition states.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import '../src/ops/all.ts';
import { registry } from '../src/ops/core/define.ts';
import { ndarray } from '../src/ops/core/ndarray.ts';
import { UNARY_CODES } from '../src/ops/core/unary-op.ts';
import { tensor } from '../src/tensor/create.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const SAMPLES = 50_000;
const INFINITY_BITS = 0x7f800000;
const SMALLEST_NORMAL = 2 ** -126;

const withoutSubnormals = (x: number): number => (Math.abs(x) < SMALLEST_NORMAL ? Math.sign(x) * 0 : x);

const bits = Uint32Array.from({ length: 2 * SAMPLES }, (_, i) => {
  const magnitude = Math.floor(((Math.floor(i / 2) + 0.5) / SAMPLES) * INFINITY_BITS);
  return i % 2 === 0 ? magnitude : (magnitude | 0x80000000) >>> 0;
});
const numbers = new Float32Array(bits.buffer);

for (const name of Object.keys(UNARY_CODES)) {
  test(`${name} over the whole range`, async () => {
    const { forward, reference, cases, tolerance } = registry.get(name)!;
    const { attrs } = cases[0]!;
    const y = engine.tidy(() => forward([tensor(engine, numbers)], attrs));
    const got = await y.readFloats();
    const want = reference([ndarray([numbers.length], numbers)], attrs).data;
    const flushed = reference([ndarray([numbers.length], numbers.map(withoutSubnormals))], attrs).data;
    y.dispose();
    const wrong = [...got].flatMap((v, i) => {
      const rounded = Math.fround(want[i]!);
      if (
        Object.is(v, rounded) ||
        Math.abs(v - want[i]!) <= tolerance.abs + tolerance.rel * Math.abs(want[i]!)
      )
        return [];
      // A driver may take a subnormal number for 0, or give 0 for one.
      if (Object.is(v, flushed[i]) || (Math.abs(rounded) < SMALLEST_NORMAL && Math.abs(v) <= SMALLEST_NORMAL))
        return [];
      return `${name}(${numbers[i]}) is ${v}, expected ${want[i]}`;
    });
    assert.equal(wrong.slice(0, 3), [], `${wrong.length} of ${got.length} are off`);
  });
}

test.run();
