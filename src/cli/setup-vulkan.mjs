// Software Vulkan drivers for setup.mjs besides the one that setup-apt.mjs installs, and what to say where none can be had.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { distribution, has, PACKAGES } from './setup-apt.mjs';

/** What Dawn's binary in the npm package `webgpu` is linked with. */
const GLIBC = [2, 34];

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
  const manager = Object.keys(commands).find((name) => has(name));
  return [
    'a software Vulkan driver (lavapipe of Mesa 23 or newer) and the Vulkan loader must be installed:',
    manager === undefined ? '  with the package manager of this system' : `  ${commands[manager]}`,
    'or name the ICD file of another driver: export VK_DRIVER_FILES=/path/to/icd.json',
  ];
}

/** Why Dawn's binary cannot run with this machine's C library, and what to do; undefined if it can. */
export function wrongLibc(report = process.report.getReport().header, { ID, PRETTY_NAME } = distribution()) {
  const needed = `Dawn (npm package webgpu) is built for glibc ${GLIBC.join('.')} or newer`;
  const { glibcVersionRuntime: found } = report;
  if (found === undefined) {
    const what = ID === 'alpine' ? `${PRETTY_NAME} has musl` : 'this Node runs on another C library (musl?)';
    return `${needed}; ${what}. Take an image with glibc, such as node:22-bookworm instead of node:22-alpine`;
  }
  const [major, minor] = found.split('.').map(Number);
  if (major > GLIBC[0] || (major === GLIBC[0] && minor >= GLIBC[1])) return undefined;
  return `${needed}; this system has glibc ${found}. Debian 12, Ubuntu 22.04 and RHEL 9 are new enough`;
}
