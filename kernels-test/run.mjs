// Runs the uvu tests: `npm test` for all, `npm test -- ops nn` for the files with one of these words in their names.
// `--driver swiftshader` runs them on the software driver that Chromium brings, instead of the machine's own.
// `--robustness off` runs them without Dawn's checks of bounds in shaders: kernels must not need them.
// `--as gpu` has a software driver run the kernels and tiles that are chosen on a GPU.
// On a build server (CI=true) a part of the files runs again on SwiftShader, which is fetched where it is missing, again
// without those checks, and again as on a GPU.
// Every file runs in a process of its own, so that a crash or a hang is a failure of that file and of no other.
// The last line says `N passed, N failed`; a file that crashes, hangs or holds no test counts as one failure.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { fetchSwiftShader, swiftShader } from '../src/cli/setup-vulkan.mjs';

const MINUTE = 60_000;
const CI = process.env.CI === 'true';
const FILE_LIMIT = (CI ? 10 : 40) * MINUTE;
/** For all files together: a build server gives up after 25 minutes and would lose the last line. */
const deadline = CI ? performance.now() + 20 * MINUTE : Infinity;
const AT_ONCE = 2;

const folder = dirname(fileURLToPath(import.meta.url));
const { values: flags, positionals: words } = parseArgs({
  options: { driver: { type: 'string' }, robustness: { type: 'string' }, as: { type: 'string' } },
  allowPositionals: true,
});
const all = words.length === 0 && Object.keys(flags).length === 0;
if (flags.driver !== undefined) useDriver(flags.driver);
if (flags.robustness !== undefined) process.env.ELI_ROBUSTNESS = oneOf('robustness', ['on', 'off']);
if (flags.as !== undefined) process.env.ELI_TEST_AS = oneOf('as', ['gpu']);
/** Kernels and random numbers: what a driver or its settings can change. Under a minute on SwiftShader. */
const AGAIN =
  /^(accuracy|autograd|determinism|golden-conv|golden-ops|golden-optim|numerics|random|special-values)\.test/;
/** The aligner's kernels too, which take SwiftShader minutes. */
const AGAIN_AS_GPU = /^(golden-ebm|sampler)\.test/;
const files = readdirSync(folder, { recursive: true })
  .filter((file) => file.endsWith('.test.ts'))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();

/** Sets what makes the Vulkan loader take this driver, for all tests. */
function useDriver(name) {
  const [driver] = name === 'swiftshader' ? swiftShader() : [];
  if (driver === undefined) {
    const known =
      name === 'swiftshader'
        ? 'is not on this machine: install chromium-common'
        : 'is not known: swiftshader is';
    process.stderr.write(`the driver ${name} ${known}\n`);
    process.exit(1);
  }
  Object.assign(process.env, driver);
}

/** The value of a flag, which must be one of these. */
function oneOf(name, known) {
  const value = flags[name];
  if (known.includes(value)) return value;
  process.stderr.write(`--${name} is ${value}, must be ${known.join(' or ')}\n`);
  process.exit(1);
}

const running = new Set();

/** Ends a test with what it started itself: each is the head of a process group. */
function kill(child) {
  try {
    process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL');
  } catch {
    // It has ended in the meantime.
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of running) kill(child);
    process.exit(1);
  });
}

/** What uvu's closing lines say; zeros where they are missing. */
function totals(output) {
  const last = [...output.matchAll(/^ {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)$/gm)].at(-1);
  const [total, passed, skipped] = last === undefined ? [0, 0, 0] : last.slice(1).map(Number);
  return { passed, failed: total - passed, skipped };
}

/**
 * Runs one file and prints its output in one piece; resolves to the numbers of tests passed and failed.
 * @param setting what it runs with, if not as the others.
 */
function runFile(file, { name = '', env: setting = {} } = {}) {
  const title = name === '' ? file : `${file} ${name}`;
  const start = performance.now();
  const limit = Math.min(FILE_LIMIT, deadline - start);
  if (limit <= 0) {
    console.log(`\n── ${title} not run: no time left`);
    return { passed: 0, failed: 1 };
  }
  return new Promise((resolve) => {
    const color = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
    const child = spawn(process.execPath, ['--import', 'tsx', join(folder, file)], {
      cwd: dirname(folder),
      env: { ...process.env, ...color, ...setting },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
    });
    running.add(child);
    const chunks = [];
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.stderr.on('data', (chunk) => chunks.push(chunk));

    let late = false;
    const timer = setTimeout(() => {
      late = true;
      kill(child);
    }, limit);
    // A process that the test left behind would hold the pipes open for ever.
    child.on('exit', () => kill(child));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      // Dawn notes two limits that it lowers, for every device that is opened.
      const output = Buffer.concat(chunks)
        .toString()
        .replace(/^Warning: maxDynamic.*\n/gm, '');
      const { passed, failed, skipped } = totals(stripVTControlCharacters(output));
      const ended = signal ?? `exit code ${code}`;
      let problem;
      if (late) problem = `stopped after ${(limit / MINUTE).toFixed(1)} minutes`;
      else if (failed === 0 && ended !== 'exit code 0') problem = `ended with ${ended}`;
      else if (passed + failed + skipped === 0) problem = 'ran no test';
      const counts = [
        `${passed} passed`,
        failed > 0 && `${failed} failed`,
        failed > 0 && code === 0 && 'a before or after hook threw',
        skipped > 0 && `${skipped} skipped`,
        problem,
      ];
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.log(`\n── ${title}  ${counts.filter(Boolean).join(', ')}  (${seconds} s)\n${output.trimEnd()}`);
      resolve({ passed, failed: failed + (problem === undefined ? 0 : 1) });
    });
  });
}

const sum = { passed: 0, failed: 0 };
const queue = files.map((file) => [file]);
if (all && CI) {
  const say = (text) => console.log(text);
  if (swiftShader().length === 0 && !fetchSwiftShader({ say }))
    say('SwiftShader could not be fetched: not run on it');
  const asGpu = { name: 'as on a GPU', env: { ELI_TEST_AS: 'gpu' } };
  const settings = [
    ...swiftShader()
      .slice(0, 1)
      .map((env) => ({ name: 'on SwiftShader', env })),
    { name: 'without robustness', env: { ELI_ROBUSTNESS: 'off' } },
    asGpu,
  ];
  const again = (setting) => (file) => AGAIN.test(file) || (setting === asGpu && AGAIN_AS_GPU.test(file));
  queue.push(...settings.flatMap((setting) => files.filter(again(setting)).map((file) => [file, setting])));
}
async function worker() {
  for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
    const { passed, failed } = await runFile(...job);
    sum.passed += passed;
    sum.failed += failed;
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, worker));

if (files.length === 0) console.log(`no test file has ${words.join(' or ')} in its name`);
console.log(`\n${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
