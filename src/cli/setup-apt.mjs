// Mesa's lavapipe, a software Vulkan driver, from Debian's or Ubuntu's packages, for setup.mjs.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

export const PACKAGES = ['mesa-vulkan-drivers', 'libvulkan1'];
/** Dawn refuses Mesa 22.3 and older (shaderUniformBufferArrayDynamicIndexing is missing); 25.0 is known to work. */
const REFUSED_MESA = 22;
const PIN = '/etc/apt/preferences.d/eli-backports';
const SOURCE = '/etc/apt/sources.list.d/eli-backports';

const runCommand = (command, input = '') =>
  spawnSync(command[0], command.slice(1), { input, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
/** Whether there is such a program. */
export const has = (program, run = runCommand) => run(['sh', '-c', `command -v ${program}`]).status === 0;

/** The words to put before a command to run it as root; null if this user may not. */
function asRoot(run, uid) {
  if (uid === 0) return [];
  return run(['sudo', '-n', 'true']).status === 0 ? ['sudo', '-n'] : null;
}

/** os-release(5) as an object. */
export function distribution() {
  const path = ['/etc/os-release', '/usr/lib/os-release'].find((file) => existsSync(file));
  const lines = path === undefined ? '' : readFileSync(path, 'utf8');
  return Object.fromEntries([...lines.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)].map((match) => match.slice(1)));
}

/**
 * Installs Mesa's lavapipe with apt: the release's version, or the one in backports on a Debian whose version is too old.
 * Says what it will do before it changes anything.
 * @param run runs a command as spawnSync does; tests give another
 * @returns false if apt or the right to use it is missing, or if Dawn accepts none of the versions that apt has
 */
export function installMesa({
  say,
  works,
  run = runCommand,
  release = distribution(),
  uid = process.getuid(),
}) {
  const root = asRoot(run, uid);
  if (root === null || !has('apt-get', run)) return false;
  const how = root.length === 0 ? 'as root' : 'through sudo';
  say(
    `SYSTEM PACKAGES will be installed with apt-get, ${how}: ${PACKAGES.join(' ')} and what they depend on`,
  );
  say('to install nothing: Ctrl-C now, and ELI_SETUP=no in the environment');

  const words = [
    'env',
    'DEBIAN_FRONTEND=noninteractive',
    'apt-get',
    '-q',
    '-y',
    '-o',
    'DPkg::Lock::Timeout=300',
  ];
  function apt(...command) {
    const child = run([...root, ...words, ...command]);
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
  const { ID, VERSION_CODENAME: codename } = release;
  if (ID !== 'debian' || !codename) return false;
  const suite = `${codename}-backports`;
  if (debianSource(suite, run) === undefined)
    return installFromBackports({ say, run, root, apt, install, codename });
  say(`installing Mesa's software driver (apt-get install -t ${suite} ${PACKAGES.join(' ')})`);
  return install('-t', suite);
}

/**
 * Adds backports for as long as the driver needs them: a source, and a pin without which any package could be upgraded from
 * there. Removes both if Dawn does not accept that driver either.
 */
function installFromBackports({ say, run, root, apt, install, codename }) {
  const suite = `${codename}-backports`;
  const source = backportsSource(codename, run);
  if (source === undefined) return false;
  const removal = ['rm', '-f', source.path, PIN];
  say(
    `Mesa in ${codename} is too old for Dawn: adding ${suite} for the driver alone (${source.path}, pinned by ${PIN})`,
  );
  const pin = (names) => run([...root, 'tee', PIN], pinOf(suite, names));
  // The pin first: there is no moment in which something else could come from the source.
  pin([]);
  run([...root, 'tee', source.path], source.text);
  apt('update');
  // Which packages would come from there: -t has precedence over the pin.
  const question = ['apt-get', '-s', '-q', '-t', suite, 'install', '--no-install-recommends', '--no-remove'];
  const plan = run([...question, ...PACKAGES]);
  const wanted = new Set([...plan.stdout.matchAll(/^Inst (\S+) .*backports/gm)].map(([, name]) => name));
  pin([...new Set([PACKAGES[0], ...wanted])]);
  say(`installing Mesa's software driver (apt-get install ${PACKAGES.join(' ')})`);
  if (install()) {
    const command = [...root.slice(0, 1), ...removal].join(' ');
    say(`to remove the source and its pin again (the driver stays): ${command}`);
    return true;
  }
  run([...root, ...removal]);
  return false;
}

/** An apt_preferences(5) file that lets only these packages come from a suite. */
function pinOf(suite, names) {
  const entry = (what, priority) => `Package: ${what}\nPin: release n=${suite}\nPin-Priority: ${priority}\n`;
  const driver = names.length > 0 ? `\n${entry(names.join(' '), 990)}` : '';
  return `# Of eli-webgpu: nothing comes from ${suite} but the Vulkan driver.\n${entry('*', -1)}${driver}`;
}

/** Where apt gets Debian's main packages of a suite from, `{ file, uri }`; undefined if it does not. */
function debianSource(codename, run) {
  const filter = ['Created-By: Packages', 'Component: main', `Codename: ${codename}`];
  const { stdout } = run(['apt-get', 'indextargets', '--format', '$(SOURCESENTRY) $(REPO_URI)', ...filter]);
  const match = /^(\S+):\d+ (\S+)$/m.exec(stdout);
  return match === null ? undefined : { file: match[1], uri: match[2] };
}

/** The machine's Debian source with the suite changed to backports: mirror, keys and options stay. */
function backportsSource(codename, run) {
  const own = debianSource(codename, run);
  if (own === undefined) return undefined;
  const deb822 = own.file.endsWith('.sources');
  const withoutSlash = (uri) => uri.replace(/\/+$/, '');
  const entry = readFileSync(own.file, 'utf8')
    .replace(/^#.*\n/gm, '')
    .split(deb822 ? /\n\s*\n/ : '\n')
    .find((text) => text.split(/\s+/).map(withoutSlash).includes(withoutSlash(own.uri)));
  if (entry === undefined) return undefined;

  const path = `${SOURCE}.${deb822 ? 'sources' : 'list'}`;
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
