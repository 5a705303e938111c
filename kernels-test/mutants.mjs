// Plants deliberate bugs, one at a time, in a copy of this tree, and says which of them the tests find (not part of npm test):
//   node kernels-test/mutants.mjs                  all of them: an hour or so
//   node kernels-test/mutants.mjs optim ema        those with one of these words in their file or what they are
//   node kernels-test/mutants.mjs --list           what there is, and whether each still fits the code
// A bug is killed when one of its tests fails, crashes, or takes many times as long as without it. The lists are in
// support/mutants-*.mjs: { file, what, find, replace, tests } and, for a bug that no test
// can find, `survives` with the reason. Exits with 1 where one survives that should not, or no longer fits the code.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { HOST_MUTANTS } from './support/mutants-host.mjs';
import { KERNEL_MUTANTS } from './support/mutants-kernels.mjs';
import { TRAIN_MUTANTS } from './support/mutants-train.mjs';

const { values: flags, positionals: words } = parseArgs({
  options: { list: { type: 'boolean' } },
  allowPositionals: true,
});
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const mutants = [...KERNEL_MUTANTS, ...TRAIN_MUTANTS, ...HOST_MUTANTS].filter(
  ({ file, what }) => words.length === 0 || words.some((word) => file.includes(word) || what.includes(word)),
);

/** The mutated text, or undefined where what is to be replaced is not there exactly once. */
function mutated({ find, replace }, text) {
  const parts = text.split(find);
  return parts.length === 2 ? parts.join(replace) : undefined;
}

const stale = mutants.filter(
  (mutant) => mutated(mutant, readFileSync(join(root, mutant.file), 'utf8')) === undefined,
);
for (const { file, what, find } of stale) console.log(`STALE     ${file}: ${what}: not there once: ${find}`);
if (flags.list) {
  for (const { file, what, tests } of mutants) console.log(`${file}: ${what} (${tests.join(', ')})`);
  console.log(`${mutants.length} mutants, ${stale.length} of them stale`);
  process.exit(stale.length > 0 ? 1 : 0);
}

/** Copies of what is mutated; the rest of the tree is linked. */
const COPIED = ['src', 'shaders', 'kernels-test'];
const copy = mkdtempSync(join(tmpdir(), 'eli-mutants-'));
for (const name of readdirSync(root)) {
  if (COPIED.includes(name)) cpSync(join(root, name), join(copy, name), { recursive: true });
  else if (name !== '.git') symlinkSync(join(root, name), join(copy, name));
}
let running;
const kill = (child) => {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended in the meantime.
  }
};
process.on('exit', () => rmSync(copy, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    if (running !== undefined) kill(running);
    process.exit(1);
  });
}

/** Runs one test file only until its first failure; resolves to whether it passed, and its seconds. */
function run(name, limit) {
  const start = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--import', 'tsx', join('kernels-test', `${name}.test.ts`)], {
      cwd: copy,
      env: { ...process.env, ELI_PROPERTY_CASES: '200' },
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    running = child;
    let failed = false;
    const timer = setTimeout(() => {
      failed = true;
      kill(child);
    }, 1000 * limit);
    child.stdout.on('data', (text) => {
      if (!String(text).includes('✘')) return;
      failed = true;
      kill(child);
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ passed: code === 0 && !failed, seconds: (performance.now() - start) / 1000 });
    });
  });
}

/** Seconds of each test file without a bug, measured at its first use; undefined where it fails. */
const usual = new Map();
async function usualSeconds(name) {
  if (!usual.has(name)) {
    const { passed, seconds } = await run(name, 1200);
    usual.set(name, passed ? seconds : undefined);
    console.log(`${passed ? 'passes' : 'FAILS'} without a bug: ${name}, ${seconds.toFixed(0)} s`);
  }
  return usual.get(name);
}

const counts = { killed: 0, survived: 0, excused: 0, untested: 0 };
for (const mutant of mutants.filter((m) => !stale.includes(m))) {
  const { file, what, tests, survives } = mutant;
  const path = join(copy, file);
  const before = readFileSync(path, 'utf8');
  let killer;
  const survived = [];
  for (const name of tests) {
    const seconds = await usualSeconds(name);
    if (seconds === undefined) continue;
    writeFileSync(path, mutated(mutant, before));
    const { passed } = await run(name, 60 + 5 * seconds);
    writeFileSync(path, before);
    if (!passed) {
      killer = name;
      break;
    }
    survived.push(name);
  }
  let outcome = 'survived';
  if (killer !== undefined) outcome = 'killed';
  else if (survives !== undefined) outcome = 'excused';
  else if (survived.length === 0) outcome = 'untested';
  counts[outcome]++;
  const by = killer ?? survives ?? survived.join(', ');
  console.log(`${outcome.toUpperCase().padEnd(9)} ${file}: ${what} (${by})`);
}
console.log(
  `${counts.killed} killed, ${counts.survived} survived, ${counts.excused} cannot be found, ${counts.untested} without a usable test, ${stale.length} stale`,
);
process.exitCode = counts.survived + counts.untested + stale.length > 0 ? 1 : 0;
