// Our times beside other libraries', on one adapter and CPU, in one run: see bench/README.md.
//
//   npm --prefix bench/peers ci
//   npx tsx bench/peers/table.mts [filter] [--json FILE]
import { parseArgs } from 'node:util';
import { chainComparison } from './chain.mts';
import type { Comparison } from './compare.mts';
import { convComparison } from './conv.mts';
import { eliComparison } from './eli.mts';
import { type Libraries, startLibraries } from './libraries.mts';
import { matmulComparison } from './matmul.mts';
import { mlpComparison } from './mlp.mts';
import { printComparisons } from './print.mts';

const COMPARISONS: Readonly<Record<string, (libraries: Libraries) => Promise<Comparison>>> = {
  'eli-32': (libraries) => eliComparison(libraries, 32),
  'eli-512': (libraries) => eliComparison(libraries, 512),
  'matmul-512': (libraries) => matmulComparison(libraries, 512),
  'matmul-1024': (libraries) => matmulComparison(libraries, 1024),
  mlp: mlpComparison,
  'conv-16': (libraries) => convComparison(libraries, { n: 32, c: 16, size: 32, o: 16 }),
  'conv-64': (libraries) => convComparison(libraries, { n: 32, c: 64, size: 8, o: 64 }),
  ops: chainComparison,
};

const { values: flags, positionals } = parseArgs({
  options: { json: { type: 'string' } },
  allowPositionals: true,
});
const chosen = Object.entries(COMPARISONS).filter(([key]) => key.includes(positionals[0] ?? ''));
if (chosen.length === 0) {
  console.error(
    `no comparison has ${positionals[0]} in its name; there are ${Object.keys(COMPARISONS).join(', ')}`,
  );
  process.exit(1);
}
const libraries = await startLibraries();
const { name, driver, software } = libraries.engine.adapter;
const torch =
  libraries.torch === undefined
    ? 'no PyTorch (python3, or what PYTHON names, has none): its lines are left out'
    : `PyTorch ${libraries.torch.version}`;
const right = await printComparisons(
  chosen.map(
    ([, make]) =>
      () =>
        make(libraries),
  ),
  {
    // They are meant for software drivers.
    goals: software,
    json: flags.json,
    about: { adapter: name, driver, node: `Node ${process.version}`, pytorch: torch },
  },
);
await libraries.torch?.close();
libraries.engine.dispose();
// jax-js and TensorFlow.js keep their devices.
process.exit(right ? 0 : 1);
