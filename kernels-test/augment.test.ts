// Augmentation against the same steps in float64 on the CPU, with the same random words; its random numbers, its
// maps, its errors.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AffineMove, affineMap, affineMaps } from '../src/data/affine.ts';
import {
  type Augmentation,
  augment,
  type ImageBytes,
  mixedLabels,
  uploadImages,
} from '../src/data/augment.ts';
import { ImageSamples } from '../src/data/image-samples.ts';
import type { ImageSet } from '../src/data/image-set.ts';
import { slice } from '../src/ops/views.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { bitsAt } from '../src/tensor/random.ts';
import { STREAM } from '../src/tensor/streams.ts';
import { compare } from './support/compare.ts';
import { fails, randomInts } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

interface Random {
  readonly seed: number;
  readonly stream: number;
  readonly step: number;
}

/** An augmentation with its maps on the CPU. */
type Plan = Omit<Augmentation, 'affine'> & { readonly affine?: Float32Array<ArrayBuffer> };

function randomSet(count: number, channels: number, height: number, width: number, classes = 7): ImageSet {
  const random = randomInts(count + 10 * channels + 100 * height + 1000 * width);
  const images = Uint8Array.from({ length: count * channels * height * width }, () => random(256));
  const labels = Uint8Array.from({ length: count }, () => random(classes));
  return { images, labels, count, channels, height, width, classes };
}

const onDevice = (set: ImageSet): ImageBytes => uploadImages(engine, set);

const unit = (bits: number): number => (bits >>> 8) / 2 ** 24;
const below = (bits: number, n: number): number => Math.floor((bits * n) / 2 ** 32);

/** The share of image i in its mixture, of Beta(α, α). */
function shareOf(random: Random, i: number, alpha: number): number {
  const u = ((bitsAt(random, 16 * i + 8) >>> 8) + 1) / 2 ** 24;
  const w = u ** (1 / alpha);
  const c = Math.cos(2 * Math.PI * unit(bitsAt(random, 16 * i + 9)));
  const part = (1 - w) * c * c;
  return 0.5 + 0.5 * Math.sign(c) * Math.sqrt(part / (w + part));
}

/** What the kernel computes, pixel by pixel. */
function reference(
  set: ImageSet,
  index: readonly number[],
  plan: Plan,
  random: Random,
  mean: readonly number[] = new Array(set.channels).fill(0),
  std: readonly number[] = new Array(set.channels).fill(1),
): Float64Array {
  const { channels, height, width } = set;
  const padding = plan.crop?.padding ?? 0;
  const [outHeight, outWidth] = plan.crop?.size ?? [height, width];
  const single = (i: number, c: number, row: number, column: number): number => {
    const words = Array.from({ length: 8 }, (_, j) => bitsAt(random, 16 * i + j));
    const pixel = (y: number, x: number): number => {
      if (y < 0 || y >= height || x < 0 || x >= width) return 0;
      const image = Math.min(index[i]!, set.count - 1);
      return set.images[((image * channels + c) * height + y) * width + x]!;
    };
    const flipped = unit(words[2]!) < (plan.flip ?? 0);
    const y = row + below(words[0]!, height + 2 * padding - outHeight + 1) - padding;
    const along = flipped ? outWidth - 1 - column : column;
    const x = along + below(words[1]!, width + 2 * padding - outWidth + 1) - padding;
    let value = pixel(y, x);
    if (plan.affine !== undefined) {
      const m = plan.affine.subarray(6 * below(words[6]!, plan.affine.length / 6)).subarray(0, 6);
      const sx = m[0]! * x + m[1]! * y + m[2]!;
      const sy = m[3]! * x + m[4]! * y + m[5]!;
      const [lx, ly] = [Math.floor(sx), Math.floor(sy)];
      value = 0;
      for (const [dy, dx] of [0, 1].flatMap((a) => [0, 1].map((b) => [a, b] as const))) {
        const weight = (dy === 1 ? sy - ly : 1 - (sy - ly)) * (dx === 1 ? sx - lx : 1 - (sx - lx));
        value += weight * pixel(ly + dy, lx + dx);
      }
    }
    const gain = 1 + (plan.brightness ?? 0) * (2 * unit(words[3]!) - 1);
    value = (Math.min(Math.max((value / 255) * gain, 0), 1) - mean[c]!) / std[c]!;
    const side = plan.cutout ?? 0;
    const down = row - (below(words[4]!, outHeight) - Math.floor(side / 2));
    const across = column - (below(words[5]!, outWidth) - Math.floor(side / 2));
    return down >= 0 && down < side && across >= 0 && across < side ? 0 : value;
  };
  const n = index.length;
  const out = new Float64Array(n * channels * outHeight * outWidth);
  let at = 0;
  for (let i = 0; i < n; i++) {
    const share = plan.mixup === undefined ? 1 : shareOf(random, i, plan.mixup);
    for (let c = 0; c < channels; c++) {
      for (let row = 0; row < outHeight; row++) {
        for (let column = 0; column < outWidth; column++) {
          const other = share === 1 ? 0 : single((i + 1) % n, c, row, column);
          out[at++] = share * single(i, c, row, column) + (1 - share) * other;
        }
      }
    }
  }
  return out;
}

/** The augmentation with its maps on the device. */
function forDevice({ affine, ...rest }: Plan): Augmentation {
  return affine === undefined ? rest : { ...rest, affine: tensor(engine, affine, [affine.length / 6, 2, 3]) };
}

const RANDOM: Random = { seed: 2 ** 33 + 7, stream: 3, step: 11 };
const RANGES = { rotation: 30, scale: [0.7, 1.4], shear: 10, translation: 2 } as const;
const maps = (height: number, width: number, count = 5): Float32Array<ArrayBuffer> =>
  affineMaps(RANGES, { height, width }, RANDOM, count);

const PLANS: readonly (readonly [name: string, shape: readonly [number, number, number, number], Plan])[] = [
  ['normalisation alone', [3, 3, 5, 7], {}],
  ['normalisation alone, planes of whole words', [3, 3, 4, 6], {}],
  ['one pixel', [2, 1, 1, 1], { crop: { padding: 1 }, flip: 0.5 }],
  ['crop', [4, 3, 9, 6], { crop: { padding: 3 } }],
  ['crop to another size', [4, 2, 8, 8], { crop: { padding: 0, size: [5, 3] } }],
  ['crop wider than the image', [4, 1, 4, 5], { crop: { padding: 2, size: [7, 9] } }],
  ['flip', [5, 3, 4, 33], { flip: 0.5 }],
  ['always flip', [2, 4, 3, 6], { flip: 1 }],
  ['brightness', [5, 3, 4, 4], { brightness: 0.9 }],
  ['cut-out, odd', [5, 3, 9, 10], { cutout: 5 }],
  ['cut-out, even and larger than half', [5, 1, 7, 7], { cutout: 6 }],
  ['affine', [6, 3, 11, 8], { affine: maps(11, 8) }],
  ['one affine map for all', [2, 1, 6, 6], { affine: maps(6, 6, 1) }],
  ['mixup, α 1', [7, 3, 5, 5], { mixup: 1 }],
  ['mixup, α 0.2, of a single image', [1, 3, 4, 4], { mixup: 0.2 }],
  ['mixup, α 8', [4, 1, 3, 4], { mixup: 8 }],
  [
    'everything',
    [5, 3, 16, 13],
    {
      crop: { padding: 4 },
      flip: 0.5,
      brightness: 0.25,
      affine: maps(16, 13),
      cutout: 4,
      mixup: 0.4,
    },
  ],
];

for (const [name, [n, channels, height, width], plan] of PLANS) {
  test(`${name}: as in float64 on the CPU`, async () => {
    const set = randomSet(9, channels, height, width);
    // The last index lies past the data set: it reads the last image.
    const index = Array.from({ length: n }, (_, i) => (i === n - 1 ? 99 : (5 * i + 2) % 9));
    const mean = [0.5, 0.45, 0.4, 0.3].slice(0, channels);
    const std = [0.25, 0.2, 0.3, 0.5].slice(0, channels);
    const got = engine.tidy(() =>
      augment(onDevice(set), tensor(engine, Uint32Array.from(index)), {
        augmentation: forDevice(plan),
        mean,
        std,
        random: RANDOM,
      }),
    );
    const [outHeight, outWidth] = plan.crop?.size ?? [height, width];
    assert.equal(got.shape, [n, channels, outHeight, outWidth]);
    // Places of affine maps are rounded in f32, times the steepest slope of a pixel and 1 / std.
    const abs = plan.affine === undefined ? 2e-6 : 4e-5;
    compare(await got.readFloats(), reference(set, index, plan, RANDOM, mean, std), { abs, rel: 2e-6 }, name);
  });
}

test('without changes pixels are exactly their 256 values, from 0 to 1', async () => {
  const images = Uint8Array.from({ length: 256 }, (_, i) => i);
  const set = { images, labels: new Uint8Array(1), count: 1, channels: 1, height: 16, width: 16, classes: 1 };
  const got = await augment(onDevice(set), tensor(engine, Uint32Array.of(0))).readFloats();
  compare(
    got,
    [...images].map((v) => v / 255),
    { abs: 0, rel: 1.2e-7 },
    'pixels',
  );
  assert.equal([got[0], got[255]], [0, 1]);
});

test('a step on the device: replays draw anew, the same step draws the same bits, views count', async () => {
  const set = randomSet(6, 3, 8, 8);
  const plan = { crop: { padding: 2 }, flip: 0.5, brightness: 0.3, cutout: 3, mixup: 0.5 };
  const counter = slice(zeros(engine, [3], 'u32'), 0, 1, 2);
  const index = slice(tensor(engine, Uint32Array.of(99, 0, 1, 2, 3, 4, 5)), 0, 1, 7);
  const random = { seed: 5, stream: 1, step: counter };
  const images = onDevice(set);
  const labels = tensor(engine, Uint32Array.from(set.labels));
  const program = engine.capture(() => [
    augment(images, index, { augmentation: plan, random }),
    mixedLabels(labels, 7, 0.5, random),
  ]);
  const seen = new Map<number, string>();
  for (const step of [0, 1, 4_000_000_000, 1, 0]) {
    counter.write([step]);
    program.run();
    const [got, shares] = await Promise.all(program.result.map((t) => t.readFloats()));
    const at = { seed: 5, stream: 1, step };
    compare(got!, reference(set, [0, 1, 2, 3, 4, 5], plan, at), { abs: 2e-6, rel: 2e-6 }, `step ${step}`);
    const given = augment(images, index, { augmentation: plan, random: at });
    assert.equal(await given.readFloats(), got, 'a step given as a number');
    assert.equal(
      await mixedLabels(labels, 7, 0.5, at).readFloats(),
      shares,
      'shares of a step given as a number',
    );
    const bits = [got, shares].map((values) => values!.join()).join(';');
    assert.is(seen.get(step) ?? bits, bits);
    seen.set(step, bits);
  }
  assert.is(new Set(seen.values()).size, 3);
  program.dispose();
});

test('a data set in two parts', async () => {
  for (const [channels, plan] of [
    [3, { crop: { padding: 2 }, flip: 0.5 }],
    [1, { affine: maps(5, 5), mixup: 1 }],
  ] as const) {
    // 75 or 25 bytes an image: parts begin with a whole word.
    const set = randomSet(11, channels, 5, 5);
    const images = uploadImages(engine, set, 75 * 3 * channels);
    assert.equal([images.parts.length, images.first], [2, 8]);
    const order = [10, 0, 7, 8, 3, 9, 99];
    const options = { augmentation: forDevice(plan), random: RANDOM };
    const got = await augment(images, tensor(engine, Uint32Array.from(order)), options).readFloats();
    compare(got, reference(set, order, plan, RANDOM), { abs: 2e-5, rel: 2e-6 }, 'two parts');
  }
  const set = randomSet(12, 1, 2, 2);
  assert.is(uploadImages(engine, set, 48).parts.length, 1);
  assert.is(uploadImages(engine, set, 32).parts.length, 2);
  await fails(
    () => uploadImages(engine, set, 23),
    'OUT_OF_MEMORY',
    /12 images of 4 bytes .*two buffers of 23/,
  );
  await fails(() => uploadImages(engine, set, 3), 'OUT_OF_MEMORY', /two buffers of 3 bytes/);
});

test('images that stay as they are: the same bits from the kernel for them, and from the one for all', async () => {
  const set = randomSet(11, 3, 4, 6);
  const index = tensor(engine, Uint32Array.from([10, 0, 7, 99]));
  const options = { mean: [0.5, 0.45, 0.4], std: [0.25, 0.2, 0.3] };
  const [plain, general] = [uploadImages(engine, set), uploadImages(engine, set, 72 * 8)];
  assert.equal([plain.parts.length, general.parts.length], [1, 2]);
  assert.equal(
    await augment(plain, index, options).readFloats(),
    await augment(general, index, options).readFloats(),
  );
});

test('seed and stream each change what is drawn', async () => {
  const images = onDevice(randomSet(4, 1, 8, 8));
  const index = tensor(engine, Uint32Array.of(0, 1, 2, 3));
  const drawn = await Promise.all(
    [{ seed: 1 }, { seed: 2 }, { seed: 1 + 2 ** 32 }, { seed: 1, stream: 1 }, { seed: 1, step: 1 }].map(
      async (random) =>
        (
          await augment(images, index, { augmentation: { crop: { padding: 4 } }, random }).readFloats()
        ).join(),
    ),
  );
  assert.is(new Set(drawn).size, 5);
});

/** 4,096 pictures of one pixel in a field of 5×5 black ones, to see what is drawn. */
async function places(augmentation: Augmentation): Promise<Float32Array> {
  const images = new Uint8Array(25);
  images[2 * 5 + 1] = 255;
  const set = { images, labels: new Uint8Array(1), count: 1, channels: 1, height: 5, width: 5, classes: 1 };
  const index = zeros(engine, [4096], 'u32');
  return augment(onDevice(set), index, { augmentation, random: RANDOM }).readFloats();
}

test('crops come from each place equally often, flips half the time', async () => {
  const counts = new Map<number, number>();
  const values = await places({ crop: { padding: 1 } });
  for (let i = 0; i < 4096; i++) {
    const at = values.subarray(25 * i, 25 * i + 25).indexOf(1);
    counts.set(at, (counts.get(at) ?? 0) + 1);
  }
  // Windows at −1, 0, 1 show pixel (2, 1) at rows 3, 2, 1 and columns 2, 1, 0.
  assert.equal(
    [...counts.keys()].sort((a, b) => a - b),
    [5, 6, 7, 10, 11, 12, 15, 16, 17],
  );
  const chi2 = [...counts.values()].reduce((sum, n) => sum + (n - 4096 / 9) ** 2 / (4096 / 9), 0);
  // 8 degrees of freedom: above 32 once in 10,000 seeds, and the seed is fixed.
  assert.ok(chi2 < 32, `chi-squared ${chi2}`);
  const flipped = (await places({ flip: 0.25 })).filter((v, i) => v === 1 && i % 25 === 13).length;
  assert.ok(Math.abs(flipped - 1024) < 4 * Math.sqrt(4096 * 0.25 * 0.75), `${flipped} of 4096 are flipped`);
});

test('shares have the moments of Beta(α, α)', async () => {
  for (const alpha of [0.2, 1, 3]) {
    const n = 20_000;
    // Neighbours have different labels, so column 0 or 1 is the share of image i.
    const labels = tensor(
      engine,
      Uint32Array.from({ length: n }, (_, i) => i % 2),
    );
    const shares = await engine.tidy(() => mixedLabels(labels, 2, alpha, RANDOM)).readFloats();
    const own = Float64Array.from({ length: n }, (_, i) => shares[2 * i + (i % 2)]!);
    compare(
      own,
      Float64Array.from(own, (_, i) => shareOf(RANDOM, i, alpha)),
      { abs: 2e-5, rel: 1e-4 },
      'shares',
    );
    const mean = own.reduce((sum, v) => sum + v, 0) / n;
    const spread = own.reduce((sum, v) => sum + (v - 0.5) ** 2, 0) / n;
    const variance = 1 / (4 * (2 * alpha + 1));
    assert.ok(Math.abs(mean - 0.5) < 4 * Math.sqrt(variance / n), `α ${alpha}: mean ${mean}`);
    // The square of v − ½ is at most ¼ and its own deviation at most ⅛.
    assert.ok(
      Math.abs(spread - variance) < (4 * 0.125) / Math.sqrt(n),
      `α ${alpha}: ${spread}, not ${variance}`,
    );
    assert.ok(own.every((v) => v >= 0 && v <= 1));
  }
});

test('samples: inputs with a step are augmented, without it plain; labels and shares fit them', async () => {
  const set = randomSet(6, 3, 6, 6);
  const augmentation = { crop: { padding: 1 }, mixup: 1 };
  const [mean, std] = [
    [0.5, 0.4, 0.3],
    [0.2, 0.3, 0.4],
  ];
  const samples = new ImageSamples(engine, set, { augmentation, mean, std, random: { seed: 9 } });
  const order = [5, 0, 3];
  const index = tensor(engine, Uint32Array.from(order));
  const step = tensor(engine, Uint32Array.of(4));
  const random = { seed: 9, stream: STREAM.augmentation, step: 4 };
  assert.equal([samples.count, samples.classes], [6, 7]);
  const close = { abs: 2e-6, rel: 2e-6 };
  compare(
    await samples.inputs(index).readFloats(),
    reference(set, order, {}, random, mean, std),
    close,
    'plain',
  );
  compare(
    await samples.inputs(index, step).readFloats(),
    reference(set, order, augmentation, random, mean, std),
    close,
    'augmented',
  );
  const labels = order.map((i) => set.labels[i]!);
  assert.equal([...(await samples.labels(index).read())], labels);
  const hot = (i: number, k: number): number => Number(labels[i] === k);
  const table = (f: (i: number, k: number) => number): number[] =>
    order.flatMap((_, i) => Array.from({ length: 7 }, (_, k) => f(i, k)));
  assert.equal([...(await samples.softLabels(index).readFloats())], table(hot));
  const mixed = table((i, k) => {
    const share = shareOf(random, i, 1);
    return share * hot(i, k) + (1 - share) * hot((i + 1) % 3, k);
  });
  compare(await samples.softLabels(index, step).readFloats(), mixed, { abs: 1e-6, rel: 1e-5 }, 'shares');
  samples.dispose();
});

/** The map applied to a place (x, y). */
function apply(m: readonly number[], x: number, y: number): number[] {
  return [m[0]! * x + m[1]! * y + m[2]!, m[3]! * x + m[4]! * y + m[5]!];
}

test('affine maps: what the places of the moved image show, by hand', () => {
  const cases: readonly (readonly [
    AffineMove,
    at: readonly [number, number],
    shows: readonly [number, number],
  ])[] = [
    [{}, [1, 2], [1, 2]],
    [{ right: 2, down: -1 }, [3, 2], [1, 3]],
    // In 5×9 the centre is (4, 2): a quarter turn clockwise brings the place right of it below it.
    [{ rotation: 90 }, [4, 3], [5, 2]],
    [{ rotation: 180 }, [0, 0], [8, 4]],
    [{ scale: 2 }, [6, 2], [5, 2]],
    [{ scale: 0.5, right: 1 }, [6, 3], [6, 4]],
    // Columns lean: what lies one row below the centre moves one pixel to the right.
    [{ shear: 45 }, [5, 3], [4, 3]],
    // First scaled, then turned, then moved.
    [{ scale: 2, rotation: 90, down: 1 }, [4, 5], [5, 2]],
  ];
  for (const [move, at, shows] of cases) {
    compare(apply(affineMap(move, 5, 9), ...at), shows, { abs: 1e-12, rel: 0 }, JSON.stringify(move));
  }
});

test('random affine maps stay in their ranges and fill them', () => {
  const all = affineMaps(RANGES, { height: 8, width: 8 }, RANDOM, 500);
  const none = affineMaps({}, { height: 8, width: 8 }, RANDOM, 2);
  assert.equal([...none], [1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0]);
  const scales = Array.from({ length: 500 }, (_, i) => {
    const [a, b, , d, e] = all.subarray(6 * i, 6 * i + 6);
    return 1 / Math.sqrt(a! * e! - b! * d!);
  });
  assert.ok(Math.min(...scales) >= 0.7 - 1e-6 && Math.min(...scales) < 0.72);
  assert.ok(Math.max(...scales) <= 1.4 + 1e-6 && Math.max(...scales) > 1.38);
});

test('a turned picture is the picture turned', async () => {
  const set = randomSet(1, 1, 4, 4);
  const affine = tensor(engine, Float32Array.from(affineMap({ rotation: 90 }, 4, 4)), [1, 2, 3]);
  const got = await augment(onDevice(set), tensor(engine, Uint32Array.of(0)), {
    augmentation: { affine },
  }).readFloats();
  const want = Array.from({ length: 16 }, (_, k) => set.images[4 * (3 - (k % 4)) + Math.floor(k / 4)]! / 255);
  compare(got, want, { abs: 2e-6, rel: 0 }, 'turned');
});

test('what does not fit is refused by name', async () => {
  const images = onDevice(randomSet(3, 3, 4, 5));
  const index = tensor(engine, Uint32Array.of(0, 1));
  const wrong: readonly [Augmentation, RegExp][] = [
    [{ crop: { padding: -1 } }, /crop.padding is -1/],
    [{ crop: { padding: 1.5 } }, /crop.padding is 1.5/],
    [{ crop: { padding: 1, size: [7, 2] } }, /crop of 7×2 does not fit 4×5 with a padding of 1/],
    [{ crop: { padding: 1, size: [0, 2] } }, /crop of 0×2/],
    [{ flip: 1.1 }, /flip is 1.1/],
    [{ flip: Number.NaN }, /flip is NaN/],
    [{ brightness: -0.1 }, /brightness is -0.1/],
    [{ cutout: 2.5 }, /cutout is 2.5/],
    [{ mixup: 0 }, /mixup is 0/],
  ];
  for (const [augmentation, pattern] of wrong)
    await fails(() => augment(images, index, { augmentation }), 'ARGUMENT', pattern);
  const flat = zeros(engine, [6]);
  await fails(
    () => augment(images, index, { augmentation: { affine: flat } }),
    'SHAPE',
    /affine .*\[k, 2, 3\]/,
  );
  await fails(() => augment(images, zeros(engine, [2])), 'DTYPE', /u32/);
  await fails(() => augment(images, zeros(engine, [2, 1], 'u32')), 'SHAPE', /expected a dense \[n\]/);
  await fails(() => augment({ ...images, count: 4 }, index), 'SHAPE', /do not hold 3 of 4 images of 3×4×5/);
  await fails(() => augment({ ...images, channels: 5 }, index), 'ARGUMENT', /5 channels/);
  await fails(() => augment(images, index, { mean: [0, 0] }), 'ARGUMENT', /mean \[0,0\] .*3 channels/);
  await fails(() => augment(images, index, { std: [1, 0, 1] }), 'ARGUMENT', /std \[1,0,1\]/);
  await fails(() => augment(images, index, { random: { seed: -1 } }), 'ARGUMENT', /seed is -1/);
  await fails(() => affineMap({ scale: 0 }, 4, 4), 'ARGUMENT', /scale 0/);
  await fails(() => affineMap({ shear: 90 }, 4, 4), 'ARGUMENT', /shear 90/);
  await fails(
    () => affineMaps({ scale: [2, 1] }, { height: 4, width: 4 }, RANDOM),
    'ARGUMENT',
    /scale 2 to 1/,
  );
  await fails(() => mixedLabels(zeros(engine, [2]), 3, 1, { seed: 0 }), 'DTYPE', /u32/);
});

test.run();
