// Our times beside PyTorch's on an NVIDIA GPU: the aligner's fit, matrix products, convolutions and training of
// ResNet-32, results compared with float64 first.
//
//   npx tsx bench/peers/gpu.mts [--json FILE]
//   npx tsx bench/peers/gpu.mts --device cpu --small     # exercises all but CUDA graphs where there is no GPU
import { parseArgs } from 'node:util';
import { Engine } from '../../src/index.ts';
import type { Comparison, Contender } from './compare.mts';
import { type ConvShape, convOurs, convProblem } from './conv.mts';
import { eliExpected, eliOurs, eliTorch, type TorchMode, type TorchWay } from './eli.mts';
import { eliProblem } from './eli-problem.mts';
import { matmulOurs, matmulProblem } from './matmul.mts';
import { printComparisons } from './print.mts';
import { resnetOurs, resnetProblem } from './resnet.mts';
import { startTorch, type TorchWork } from './torch.mts';

const { values: flags } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    small: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
if (flags.device !== 'cuda' && flags.device !== 'cpu') {
  console.error(`--device is ${flags.device}, must be cuda or cpu`);
  process.exit(1);
}
const { device, small } = flags;
const NAME = device === 'cuda' ? 'PyTorch CUDA' : 'PyTorch CPU';

const engine = await Engine.create({ subgroupMatrices: true });
const started = await startTorch();
const torch = device === 'cuda' && started?.cuda === null ? undefined : started;
const { name, driver } = engine.adapter;
const left = 'its lines are left out';
const pytorch =
  started === undefined
    ? `no PyTorch (python3, or what PYTHON names, has none): ${left}`
    : torch === undefined
      ? `PyTorch has no CUDA here: ${left}`
      : `PyTorch ${torch.version} on ${torch.cuda ?? 'the CPU'}`;

/** TF32 and f16 keep 11 bits of what is multiplied. */
const ROUNDED = 5e-3;
const MODES: TorchMode[] = [
  'eager',
  ...(torch?.compile === true ? (['compile'] as const) : []),
  ...(device === 'cuda' ? (['graph'] as const) : []),
];

/** PyTorch with TF32 off and on, and what else differs. */
function torchWays(
  work: Pick<TorchWork, 'task' | 'options' | 'inputs'>,
  kinds: readonly (Partial<TorchWork> & { label: string; tolerance?: number })[],
): (() => Promise<Contender | undefined>)[] {
  return kinds.map(({ label, tolerance, ...kind }) => async () => {
    if (torch === undefined) return undefined;
    const library = `${NAME}, ${label}`;
    const options = { ...work.options, ...kind.options };
    const contender = await torch.contender({ ...work, device, ...kind, options, library });
    return tolerance === undefined ? contender : { ...contender, tolerance };
  });
}

async function eli(): Promise<Comparison> {
  const problem = await eliProblem(engine, 32);
  const iterations = small ? 50 : 17_100;
  const pytorch = (way: TorchWay, mode: TorchMode) => async () =>
    torch && eliTorch(torch, problem, way, { library: `${NAME}, ${way}, ${mode}`, mode, device });
  return {
    name: `ELI fit, d = 32, batch 128, ${iterations} iterations`,
    unit: 's',
    figure: (ms) => (ms * iterations) / 1000,
    expected: () => eliExpected(problem),
    tolerance: 1e-4,
    once: iterations,
    contenders: [
      async () => eliOurs(engine, problem),
      // The compiler does not take a gradient inside of what it compiles.
      ...MODES.filter((mode) => mode !== 'compile').map((mode) => pytorch('autograd', mode)),
      ...MODES.map((mode) => pytorch('closed form', mode)),
      ...MODES.map((mode) => pytorch('hidden layer', mode)),
    ],
  };
}

async function products(): Promise<Comparison> {
  const n = small ? 256 : 4096;
  const rows = 16;
  const { a, b, expected, torch: work } = await matmulProblem(engine, n, rows);
  return {
    name: `matmul ${n}³`,
    unit: 'GFLOP/s',
    figure: (ms) => (2 * n ** 3) / ms / 1e6,
    expected,
    tolerance: 1e-5,
    contenders: [
      async () => matmulOurs(engine, n, a, b, { rows }),
      async () => matmulOurs(engine, n, a, b, { rows, tuned: true }),
      async () =>
        engine.has('shader-f16')
          ? {
              ...(await matmulOurs(engine, n, a, b, { rows, dtype: 'f16', tuned: true })),
              tolerance: ROUNDED,
            }
          : undefined,
      ...torchWays(work, [
        { label: 'f32' },
        { label: 'TF32', tf32: true, tolerance: ROUNDED },
        // Halves are not for CPUs.
        ...(device === 'cuda' ? [{ label: 'f16', dtype: 'f16' as const, tolerance: ROUNDED }] : []),
      ]),
    ],
  };
}

async function convolution(shape: ConvShape): Promise<Comparison> {
  const { name, arrays, expected, torch: work } = await convProblem(engine, shape);
  return {
    name,
    unit: 'ms',
    figure: (ms) => ms,
    expected,
    tolerance: 1e-4,
    contenders: [
      async () => convOurs(engine, shape, arrays),
      ...torchWays(work, [{ label: 'f32' }, { label: 'TF32', tf32: true, tolerance: ROUNDED }]),
    ],
  };
}

async function resnet(): Promise<Comparison> {
  const batch = small ? 4 : 128;
  const problem = await resnetProblem(engine, batch);
  return {
    name: `ResNet-32, training step, 32×32, batch ${batch}`,
    unit: 'images/s',
    figure: (ms) => (1000 * batch) / ms,
    // By PyTorch in float64 on the CPU.
    expected: async () => {
      const options = { ...problem.torch.options, mode: 'eager' };
      const work = { ...problem.torch, options, library: 'float64', dtype: 'f64' } as const;
      return (await started?.contender(work))?.result();
    },
    tolerance: 1e-2,
    contenders: [
      async () => resnetOurs(engine, problem),
      ...torchWays(
        problem.torch,
        MODES.flatMap((mode) => [
          { label: `f32, ${mode}`, options: { mode } },
          { label: `TF32, ${mode}`, options: { mode }, tf32: true, tolerance: 0.3 },
        ]),
      ),
    ],
  };
}

const n = small ? 4 : 128;
const right = await printComparisons(
  [
    eli,
    products,
    () => convolution({ n, c: 16, size: 32, o: 16 }),
    () => convolution({ n, c: 32, size: 16, o: 32 }),
    () => convolution({ n, c: 64, size: 8, o: 64 }),
    resnet,
  ],
  {
    goals: false,
    json: flags.json,
    about: { adapter: name, driver, node: `Node ${process.version}`, pytorch },
  },
);
await started?.close();
engine.dispose();
process.exitCode = right ? 0 : 1;
