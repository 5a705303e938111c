// What `npm start` and `npm test` need on a fresh machine: the packages of package-lock.json and a Vulkan driver that
// Dawn accepts. Plain JavaScript without dependencies, because it runs before packages are installed.
// Prints nothing when there is nothing to do, otherwise one line per step on stderr. With ELI_SETUP=no it installs nothing
// and only says what is missing.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installMesa } from './setup-apt.mjs';
import { swiftShader, whatToInstall, wrongLibc } from './setup-vulkan.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const INSTALL = !/^(no|off|0|false)$/i.test(process.env.ELI_SETUP ?? '');
const say = (text) => process.stderr.write(`setup: ${text}\n`);

/** Prints what is wrong and what to do, and ends the process. */
function stop(...lines) {
  for (const line of lines) say(line);
  process.exit(1);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 11))
    stop(`Node ${process.versions.node} is too old: 20.11 or newer is needed`);
  const wrong = process.platform === 'linux' ? wrongLibc() : undefined;
  if (wrong !== undefined) stop(wrong);
}

/** Whether npm has installed every package of the lock file at its version. */
function packagesMatch() {
  try {
    const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
    const installed = read('node_modules/.package-lock.json');
    return Object.entries(read('package-lock.json')).every(([path, wanted]) => {
      if (path === '') return true;
      const found = installed[path];
      // The lock file also has optional packages for other platforms, which are never installed here.
      if (found === undefined) return wanted.optional === true || wanted.devOptional === true;
      return found.version === wanted.version && found.integrity === wanted.integrity;
    });
  } catch {
    return false;
  }
}

function installPackages() {
  // The published package has no lock file: whoever installed it takes care of its packages.
  if (!existsSync(join(root, 'package-lock.json')) || packagesMatch()) return;
  if (!INSTALL)
    return say('node_modules differs from package-lock.json, and ELI_SETUP=no: run npm ci yourself');
  say('installing the packages of package-lock.json (npm ci)');
  // --include=dev: the sources run through tsx, a development dependency, whatever NODE_ENV is.
  const { status } = spawnSync('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (status !== 0) stop('npm ci failed; its message is above');
}

const NOT_LOADED = 3;
const PROBE = `
  const { create, globals } = await import('webgpu').catch((error) => {
    console.error(error.message);
    process.exit(${NOT_LOADED});
  });
  Object.assign(globalThis, globals);
  // Naming the real back end excludes Dawn's null back end, which computes nothing.
  const gpu = create(process.platform === 'linux' ? ['backend=vulkan'] : []);
  const adapter = await gpu.requestAdapter();
  process.exit(adapter === null ? 1 : 0);
`;

/** Asks Dawn for an adapter, in a separate process: a driver stays loaded once it is, and may crash. */
function findAdapter(env = {}) {
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', PROBE], {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: 120_000,
  });
  if (child.status === NOT_LOADED) stop(`Dawn (npm package webgpu) cannot be loaded: ${child.stderr.trim()}`);
  return { usable: child.status === 0, messages: child.stderr.trim() };
}

function provideAdapter() {
  const first = findAdapter();
  if (first.usable) return;

  for (const name of ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES']) {
    const value = process.env[name];
    if (value)
      stop(`${name}=${value} does not name a driver that Dawn accepts; correct or unset it`, first.messages);
  }
  if (process.platform !== 'linux') {
    stop('Dawn finds no GPU adapter; install or update the graphics driver of this machine', first.messages);
  }

  say('Dawn finds no usable Vulkan adapter');
  if (!INSTALL) say('ELI_SETUP=no: no system packages are installed');
  else if (installMesa({ say, works: () => findAdapter().usable })) return;

  for (const env of swiftShader()) {
    if (!findAdapter(env).usable) continue;
    const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    stop("a browser's slower software driver is installed; to use it:", `  export ${words.join(' ')}`);
  }
  stop(...whatToInstall(), 'Dawn says:', findAdapter().messages || 'nothing');
}

checkNode();
installPackages();
provideAdapter();
