import { pathToFileURL } from 'node:url';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { compileError, createPipeline } from '../gpu/pipelines.ts';
import { Program } from '../gpu/program.ts';
import { type BufferBinding, reflectInterface, type ShaderInterface } from '../wgsl/interface.ts';
import { type Consts, loadShader, type ShaderSource } from '../wgsl/source.ts';
import {
  bytesOf,
  type Contents,
  compareContents,
  contentsOf,
  type Fill,
  fillBuffer,
  writeUniform,
} from './shader-data.ts';
import type { Prepared, Workload } from './workload.ts';

type Named<T> = Readonly<Record<string, T>>;

/** How to launch a shader. Names are those of the WGSL text. */
export interface ShaderSettings {
  readonly entry?: string;
  /** Elements of the arrays whose length the buffer decides, by binding. */
  readonly size: Named<number>;
  /** What storage buffers hold at the start, by binding; see `fillBuffer` for the default. */
  readonly fill: Named<Fill>;
  /** Numbers of the uniforms: `binding.field`, `field`, or the binding itself where it is no struct. */
  readonly param: Named<readonly number[]>;
  readonly override: Named<number>;
  /** Values for `const NAME: type = value;` lines. */
  readonly const: Named<number>;
  readonly groups?: readonly [number, number?, number?];
  /** An .mjs or .js file whose default export is a `ShaderCheck`. */
  readonly check?: string;
  readonly tolerance?: number;
  readonly seed?: number;
  /** Floating-point operations and bytes moved of one launch. */
  readonly flops?: number;
  readonly bytes?: number;
}

/** A shader to time. `shared` settings are for several shaders: each takes the names that it has. */
export interface ShaderSpec {
  /** An absolute path, or one below `shaders/` of this package. */
  readonly file: string;
  /** How the row calls it. */
  readonly name: string;
  readonly own: ShaderSettings;
  readonly shared: ShaderSettings;
}

/** What a check gets: the storage buffers before the launch and the uniforms, by name. */
export interface ShaderCase {
  readonly inputs: Named<Contents>;
  /** A struct by its fields; a number, or several in an array. */
  readonly uniforms: Named<number | readonly number[] | Named<number | readonly number[]>>;
  readonly overrides: Named<number>;
  readonly groups: readonly [number, number, number];
}

/** The expected contents of the buffers that the kernel writes, by name: all of them, or those that matter. */
export type ShaderCheck = (given: ShaderCase) => Named<ArrayLike<number>> | Promise<Named<ArrayLike<number>>>;

/** A shader with its settings resolved against its text. */
interface Resolved {
  readonly spec: ShaderSpec;
  readonly source: ShaderSource;
  readonly module: GPUShaderModule;
  readonly shader: ShaderInterface;
  readonly settings: ShaderSettings;
  readonly groups: readonly [number, number, number];
  readonly uniforms: ReadonlyMap<BufferBinding, ReadonlyMap<string, readonly number[]>>;
}

const DEFAULT_TOLERANCE = 1e-5;
const NAMED = ['size', 'fill', 'param', 'override', 'const'] as const;

/**
 * Workloads of stand-alone shaders, timed together. Each is checked before it is timed.
 * @throws EliError `WGSL` for a text that does not compile, with file, line and column; `ARGUMENT` for a size, number
 * or name that is missing or unknown.
 */
export async function shaderWorkloads(engine: Engine, specs: readonly ShaderSpec[]): Promise<Workload[]> {
  const resolved: Resolved[] = [];
  for (const spec of specs) resolved.push(await resolve(engine, spec));
  checkShared(resolved);
  const names = new Map<string, number>();
  return resolved.map((one) => {
    const chosen = Object.entries({ ...one.settings.override, ...one.settings.const });
    const name = [`shader: ${one.spec.name}`, ...chosen.map(([key, value]) => `${key}=${value}`)].join(' ');
    const count = (names.get(name) ?? 0) + 1;
    names.set(name, count);
    return {
      name: count === 1 ? name : `${name} (${count})`,
      unit: 'launches',
      together: 'shaders',
      prepare: () => prepare(engine, one),
    };
  });
}

async function resolve(engine: Engine, spec: ShaderSpec): Promise<Resolved> {
  const { own, shared } = spec;
  const consts: Consts = { ...own.const };
  const plain = loadShader(spec.file);
  const sharedConsts = Object.entries(shared.const).filter(([name]) => declaresConst(plain, name));
  const source = loadShader(spec.file, { ...Object.fromEntries(sharedConsts), ...consts });
  const module = await compile(engine, source);
  const shader = reflectInterface(source, own.entry ?? shared.entry);
  const known = namesOf(source, shader);
  const merged = { ...shared, ...own };
  for (const kind of NAMED) {
    const unknown = Object.keys(own[kind]).find((name) => !known[kind](name));
    if (unknown !== undefined) throw unknownName(`${spec.name} has no`, kind, unknown, known.list[kind]);
    const fitting = Object.entries(shared[kind]).filter(([name]) => known[kind](name));
    Object.assign(merged, { [kind]: { ...Object.fromEntries(fitting), ...own[kind] } });
  }
  const groups = groupsOf(engine, spec, shader, merged);
  for (const buffer of shader.buffers) {
    if (buffer.element !== undefined && merged.size[buffer.name] === undefined) {
      throw new EliError('ARGUMENT', `${spec.name}: the buffer ${buffer.name} has no size`, {
        hint: `give its elements with --size ${buffer.name}=N. Behind a --shader a flag is for that shader, before the first for all`,
      });
    }
  }
  const uniforms = new Map(
    shader.buffers
      .filter(({ kind }) => kind === 'uniform')
      .map((b) => [b, uniformOf(spec, shader, b, merged)]),
  );
  return { spec, source, module, shader, settings: merged, groups, uniforms };
}

const declaresConst = (source: ShaderSource, name: string): boolean =>
  new RegExp(`^const ${name}\\s*:\\s*(u32|i32|f32)\\s*=`, 'm').test(source.code);

async function compile(engine: Engine, source: ShaderSource): Promise<GPUShaderModule> {
  const { device } = engine;
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code: source.code, label: source.file });
  const [error, info] = await Promise.all([device.popErrorScope(), module.getCompilationInfo()]);
  if (error !== null) throw compileError(source, error, info);
  return module;
}

/** Which names there are to set, by kind. */
function namesOf(source: ShaderSource, shader: ShaderInterface) {
  const storage = shader.buffers.filter(({ kind }) => kind === 'storage').map(({ name }) => name);
  const list = {
    size: shader.buffers.filter(({ element }) => element !== undefined).map(({ name }) => name),
    fill: storage,
    param: shader.buffers
      .filter(({ kind }) => kind === 'uniform')
      .flatMap(({ name, fields }) => fields?.map((field) => `${name}.${field.name}`) ?? [name]),
    override: [...shader.overrides.keys()],
    const: [],
  };
  const has = (names: readonly string[]) => (name: string) => names.includes(name);
  return {
    list,
    size: has(list.size),
    fill: has(list.fill),
    param: (name: string) => list.param.filter((path) => path === name || fieldOf(path) === name).length > 0,
    override: has(list.override),
    const: (name: string) => declaresConst(source, name),
  };
}

const fieldOf = (path: string): string => path.slice(path.indexOf('.') + 1);

function unknownName(where: string, kind: string, name: string, known: readonly string[]): EliError {
  const texts: Named<string> = {
    size: `storage array ${name} whose length is open`,
    fill: `storage buffer ${name}`,
    param: `uniform ${name}`,
  };
  return new EliError('ARGUMENT', `${where} ${texts[kind] ?? `${kind} ${name}`}`, {
    hint: known.length > 0 ? `it has ${known.join(', ')}` : `leave out --${kind} ${name}=…`,
  });
}

/** A name among the settings for all that no shader has is a slip. */
function checkShared(resolved: readonly Resolved[]): void {
  const shared = resolved[0]?.spec.shared;
  if (shared === undefined) return;
  for (const kind of NAMED) {
    for (const name of Object.keys(shared[kind])) {
      if (resolved.some(({ settings }) => name in settings[kind])) continue;
      const known = resolved.flatMap(({ source, shader }) => namesOf(source, shader).list[kind]);
      throw unknownName('no shader has the', kind, name, [...new Set(known)]);
    }
  }
}

function groupsOf(
  engine: Engine,
  spec: ShaderSpec,
  shader: ShaderInterface,
  { groups, size }: ShaderSettings,
): [number, number, number] {
  if (groups === undefined) {
    const invocations = shader.workgroup.reduce((product, n) => product * n, 1);
    const most = Math.max(1, ...Object.values(size));
    throw new EliError('ARGUMENT', `${spec.name}: how many workgroups to launch is not said`, {
      hint: `--groups X,Y,Z. A workgroup has ${shader.workgroup.join(' × ')} invocations: one for each of ${most} elements takes --groups ${Math.ceil(most / invocations)}`,
    });
  }
  const [x, y = 1, z = 1] = groups;
  const limit = engine.device.limits.maxComputeWorkgroupsPerDimension;
  if ([x, y, z].some((n) => n > limit)) {
    throw new EliError(
      'ARGUMENT',
      `${spec.name}: ${x} × ${y} × ${z} workgroups are over the limit of ${limit} a dimension`,
    );
  }
  return [x, y, z];
}

/** The numbers of a uniform by field, '' for one that is no struct. */
function uniformOf(
  spec: ShaderSpec,
  shader: ShaderInterface,
  buffer: BufferBinding,
  { param }: ShaderSettings,
): Map<string, readonly number[]> {
  const paths = shader.buffers.flatMap((b) => b.fields?.map((f) => `${b.name}.${f.name}`) ?? []);
  const fields = buffer.fields ?? [{ name: '', leaves: buffer.head }];
  return new Map(
    fields.map(({ name, leaves }) => {
      const path = name === '' ? buffer.name : `${buffer.name}.${name}`;
      // The field's name alone will do where only one struct has it.
      const alone = paths.filter((other) => fieldOf(other) === name).length === 1;
      const values = param[path] ?? (alone ? param[name] : undefined);
      if (values === undefined) {
        throw new EliError('ARGUMENT', `${spec.name}: the uniform ${path} has no value`, {
          hint: `give it with --param ${path}=${leaves.length === 1 ? 'N' : 'N,N,…'}`,
        });
      }
      if (values.length !== leaves.length) {
        throw new EliError(
          'ARGUMENT',
          `${spec.name}: the uniform ${path} takes ${leaves.length} numbers, ${values.length} were given`,
        );
      }
      return [name, values];
    }),
  );
}

/** A storage buffer on the device, and its bytes at the start. */
interface Storage {
  readonly buffer: BufferBinding;
  readonly start: Uint8Array<ArrayBuffer>;
  readonly at: ReturnType<Engine['allocate']>;
}

async function prepare(engine: Engine, one: Resolved): Promise<Prepared> {
  const { spec, shader, settings, groups } = one;
  const { device } = engine;
  const kernel = await pipelineOf(engine, one);
  const storages: Storage[] = [];
  const uniforms: GPUBuffer[] = [];
  const free = (): void => {
    for (const { at } of storages) at.release();
    for (const uniform of uniforms) uniform.destroy();
  };
  try {
    const entries = shader.buffers.map((buffer): GPUBindGroupEntry => {
      const { binding, name, kind } = buffer;
      if (kind === 'uniform') {
        const uniform = writeUniform(device, buffer, one.uniforms.get(buffer)!);
        uniforms.push(uniform);
        return { binding, resource: { buffer: uniform } };
      }
      const elements = settings.size[name] ?? 0;
      const bytes = bytesOf(buffer, elements);
      const limit = device.limits.maxStorageBufferBindingSize;
      if (bytes > limit) {
        throw new EliError(
          'OUT_OF_MEMORY',
          `${spec.name}: the buffer ${name} has ${bytes} bytes, over the adapter's limit of ${limit}`,
        );
      }
      const at = engine.allocate(bytes);
      const start = fillBuffer(buffer, elements, settings.fill[name], settings.seed ?? 1);
      storages.push({ buffer, start, at });
      engine.write(at, 0, start);
      return { binding, resource: { buffer: at.buffer, offset: 0, size: bytes } };
    });
    const bindGroup = device.createBindGroup({ layout: kernel.bindGroupLayout, entries });
    const program = new Program(engine, undefined, [{ kernel, bindGroup, groups }], free);
    return {
      run: (times) => program.run(times),
      ...(settings.check && { check: () => check(engine, one, program, storages) }),
      ...(settings.flops !== undefined && { flops: settings.flops }),
      ...(settings.bytes !== undefined && { bytes: settings.bytes }),
      dispose: () => program.dispose(),
    };
  } catch (error) {
    free();
    throw error;
  }
}

/** Runs the shader once from its start, and compares what it wrote with what its check expects. */
async function check(
  engine: Engine,
  { spec, settings, uniforms, groups }: Resolved,
  program: Program<void>,
  storages: readonly Storage[],
): Promise<void> {
  const expect = await checkOf(settings.check!);
  for (const { at, start } of storages) engine.write(at, 0, start);
  program.run();
  const inputs = storages.map(({ buffer, start }) => [buffer.name, contentsOf(buffer, start.slice().buffer)]);
  const want = await expect({
    inputs: Object.fromEntries(inputs),
    uniforms: Object.fromEntries([...uniforms].map(([b, fields]) => [b.name, valuesOf(fields)])),
    overrides: settings.override,
    groups,
  });
  if (want === null || typeof want !== 'object' || Object.keys(want).length === 0) {
    throw new EliError('ARGUMENT', `${settings.check} returned no expected buffers`, {
      hint: 'return an object such as { y: Float32Array }',
    });
  }
  for (const [name, values] of Object.entries(want)) {
    const storage = storages.find(({ buffer }) => buffer.name === name);
    const known = storages.map(({ buffer }) => buffer.name);
    if (storage === undefined)
      throw unknownName(`${settings.check}: ${spec.name} has no`, 'fill', name, known);
    const got = contentsOf(storage.buffer, await engine.read(storage.at, 0, storage.start.length));
    compareContents(`${spec.name}: ${name}`, got, values, settings.tolerance ?? DEFAULT_TOLERANCE);
  }
}

async function pipelineOf(engine: Engine, one: Resolved) {
  const { source, module, shader, settings } = one;
  const { device } = engine;
  const constants = Object.entries(settings.override).map(
    ([name, value]) => [shader.overrides.get(name)!, value] as const,
  );
  device.pushErrorScope('validation');
  const kernel = createPipeline(device, `${one.spec.name}:${shader.entry}`, shader.buffers, {
    module,
    entryPoint: shader.entry,
    constants: Object.fromEntries(constants),
  });
  const [error, info] = await Promise.all([device.popErrorScope(), module.getCompilationInfo()]);
  if (error !== null) throw compileError(source, error, info);
  return kernel;
}

function valuesOf(fields: ReadonlyMap<string, readonly number[]>): ShaderCase['uniforms'][string] {
  const plain = (values: readonly number[]) => (values.length === 1 ? values[0]! : values);
  const whole = fields.get('');
  if (whole !== undefined) return plain(whole);
  return Object.fromEntries([...fields].map(([name, values]) => [name, plain(values)]));
}

async function checkOf(path: string): Promise<ShaderCheck> {
  let loaded: { default?: unknown };
  try {
    loaded = (await import(pathToFileURL(path).href)) as { default?: unknown };
  } catch (cause) {
    throw new EliError('FILE', `the check ${path} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
  if (typeof loaded.default !== 'function') {
    throw new EliError('FILE', `the check ${path} has no default export that is a function`, {
      hint: 'export default ({ inputs, uniforms }) => ({ y: … })',
    });
  }
  return loaded.default as ShaderCheck;
}
