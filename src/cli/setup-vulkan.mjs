// A software Vulkan driver for setup.mjs: Mesa's lavapipe, from the machine's package manager.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGES = ['mesa-vulkan-drivers', 'libvulkan1'];
/** Dawn refuses Mesa 22.3 and older (shaderUniformBufferArrayDynamicIndexing is missing); 25.0 is known to work. */
const REFUSED_MESA = 22;

const run = (command, input = '') =>
  spawnSync(command[0], command.slice(1), { input, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
const has = (program) => run(['sh', '-c', `command -v ${program}`]).status === 0;

/** The words to put before a command to run it as root; null if this user may not. */
function asRoot() {
  if (process.getuid() === 0) return [];
  return run(['sudo', '-n', 'true']).status === 0 ? ['sudo', '-n'] : null;
}

/** os-release(5) as an object. */
function distribution() {
  const path = ['/etc/os-release', '/usr/lib/os-release'].find((file) => existsSync(file));
  const lines = path === undefined ? '' : readFileSync(path, 'utf8');
  return Object.fromEntries([...lines.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)].map((match) => match.slice(1)));
}

/**
 * Installs Mesa's lavapipe with apt: the release's version, or the one in backports on a Debian whose version is too old.
 * False if apt or the right to use it is missing, or if Dawn accepts none of the versions that apt has.
 */
export function installMesa({ say, works }) {
  const root = asRoot();
  if (root === null || !has('apt-get')) return false;

  function apt(...command) {
    const options = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=300'];
    const child = run([...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...options, ...command]);
    if (child.status !== 0)
      say(`apt-get ${command.join(' ')} failed:\n${(child.stdout + child.stderr).slice(-2000)}`);
    return child.status === 0;
  }
  // --no-remove: a driver is not worth losing another package for.
  const install = (...options) =>
    apt('install', '--no-install-recommends', '--no-remove', ...options, ...PACKAGES) && works();

  say('reading the package lists (apt-get update)');
  apt('update'); // a broken list of another source does not matter; install finds out whether ours is there

  const version = /Candidate: (\d+)\S*/.exec(run(['apt-cache', 'policy', PACKAGES[0]]).stdout);
  if (version !== null && Number(version[1]) > REFUSED_MESA) {
    say(`installing Mesa's software driver (apt-get install ${PACKAGES.join(' ')})`);
    if (install()) return true;
  }

  const { ID, VERSION_CODENAME: codename } = distribution();
  if (ID !== 'debian' || !codename) return false;
  const backports = `${codename}-backports`;
  const listed = debianSource(backports) !== undefined;
  const source = listed ? undefined : backportsSource(codename);
  if (source !== undefined) {
    say(`adding ${source.path}: Mesa in ${codename} itself is too old for Dawn`);
    run([...root, 'tee', source.path], source.text);
    apt('update');
  }
  say(`installing Mesa's software driver (apt-get install -t ${backports} ${PACKAGES.join(' ')})`);
  if (install('-t', backports)) return true;
  if (source !== undefined) run([...root, 'rm', '-f', source.path]);
  return false;
}

/** Where apt gets Debian's main packages of a suite from, `{ file, uri }`; undefined if it does not. */
function debianSource(codename) {
  const filter = ['Created-By: Packages', 'Component: main', `Codename: ${codename}`];
  const { stdout } = run(['apt-get', 'indextargets', '--format', '$(SOURCESENTRY) $(REPO_URI)', ...filter]);
  const match = /^(\S+):\d+ (\S+)$/m.exec(stdout);
  return match === null ? undefined : { file: match[1], uri: match[2] };
}

/** The machine's Debian source with the suite changed to backports: mirror, keys and options stay. */
function backportsSource(codename) {
  const own = debianSource(codename);
  if (own === undefined) return undefined;
  const deb822 = own.file.endsWith('.sources');
  const withoutSlash = (uri) => uri.replace(/\/+$/, '');
  const entry = readFileSync(own.file, 'utf8')
    .replace(/^#.*\n/gm, '')
    .split(deb822 ? /\n\s*\n/ : '\n')
    .find((text) => text.split(/\s+/).map(withoutSlash).includes(withoutSlash(own.uri)));
  if (entry === undefined) return undefined;

  const path = `/etc/apt/sources.list.d/eli-backports.${deb822 ? 'sources' : 'list'}`;
  if (!deb822) {
    const text = entry.replace(
      /^deb(?:-src)?(\s+\[[^\]]*\])?\s+(\S+)\s.*$/,
      `deb$1 $2 ${codename}-backports main`,
    );
    return { path, text: `${text}\n` };
  }
  let text = entry.trim();
  for (const [field, value] of [
    ['Types', 'deb'],
    ['Suites', `${codename}-backports`],
    ['Components', 'main'],
  ]) {
    text = text.replace(new RegExp(`^${field}:.*(\\n[ \\t].*)*`, 'm'), `${field}: ${value}`);
  }
  return { path, text: `${text}\n` };
}

/** Where `fetchSwiftShader` puts it. */
const CACHED = fileURLToPath(new URL('../../.cache/swiftshader', import.meta.url));

/** Environments in which the SwiftShader of a Chromium or Chrome on this machine may be found. */
export function swiftShader() {
  const chromium = '/usr/lib/chromium';
  const folders = [chromium, '/usr/lib64/chromium-browser', '/opt/google/chrome', join(CACHED, chromium)];
  return folders.flatMap((folder) => {
    const driver = { VK_DRIVER_FILES: join(folder, 'vk_swiftshader_icd.json') };
    // The browser also includes a Vulkan loader, for machines that have none.
    return existsSync(driver.VK_DRIVER_FILES) ? [driver, { ...driver, LD_LIBRARY_PATH: folder }] : [];
  });
}

/** Unpacks SwiftShader from Debian's chromium-common (30 MB) into this clone's cache; installs nothing. False if it fails. */
export function fetchSwiftShader({ say }) {
  if (!has('apt-get') || !has('dpkg-deb')) return false;
  const folder = mkdtempSync(join(tmpdir(), 'eli-swiftshader-'));
  try {
    say('fetching a second software driver, SwiftShader (apt-get download chromium-common)');
    const download = spawnSync('apt-get', ['-q', 'download', 'chromium-common'], { cwd: folder });
    const archive = readdirSync(folder).find((name) => name.endsWith('.deb'));
    if (download.status !== 0 || archive === undefined) return false;
    const { status, stdout } = spawnSync('dpkg-deb', ['--fsys-tarfile', join(folder, archive)], {
      maxBuffer: 1 << 30,
    });
    mkdirSync(CACHED, { recursive: true });
    const files = ['--wildcards', '*/chromium/*swiftshader*', '*/chromium/libvulkan.so*'];
    return status === 0 && spawnSync('tar', ['-x', '-C', CACHED, ...files], { input: stdout }).status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The lines that tell users what to do when nothing could be installed for them. */
export function whatToInstall() {
  const isRoot = process.getuid() === 0;
  const sudo = isRoot ? '' : 'sudo ';
  const script = fileURLToPath(new URL('./setup.mjs', import.meta.url));
  const commands = {
    'apt-get': isRoot
      ? `apt-get install ${PACKAGES.join(' ')}   (on Debian 12 both from bookworm-backports)`
      : `sudo ${process.execPath} ${script}   (installs ${PACKAGES.join(' and ')})`,
    dnf: `${sudo}dnf install mesa-vulkan-drivers vulkan-loader`,
    pacman: `${sudo}pacman -S --needed vulkan-swrast vulkan-icd-loader`,
    zypper: `${sudo}zypper install libvulkan_lvp libvulkan1`,
  };
  const manager = Object.keys(commands).find(has);
  return [
    'a software Vulkan driver (lavapipe of Mesa 23 or newer) and the Vulkan loader must be installed:',
    manager === undefined ? '  with the package manager of this system' : `  ${commands[manager]}`,
    'or name the ICD file of another driver: export VK_DRIVER_FILES=/path/to/icd.json',
  ];
}
