import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { compileError, createPipeline } from '../gpu/pipelines.ts';
import { Program } from '../gpu/program.ts';
import { type BufferBinding, reflectInterface, type ShaderInterface } from '../wgsl/interface.ts';
import { loadShader, originOf, type ShaderSource } from '../wgsl/source.ts';
import { findRaces } from './races.ts';
import { checkOf, type Named, type ShaderCase } from './shader-check.ts';
import { bytesOf, compareContents, contentsOf, type Fill, fillBuffer, writeUniform } from './shader-data.ts';
import type { Prepared, Workload } from './workload.ts';

/** How to launch a shader. Names are those of the WGSL text. */
export interface ShaderSettings {
  readonly entry?: string;
  /** Number of elements of the runtime-sized arrays, by binding. */
  readonly size: Named<number>;
  /** Initial contents of storage buffers, by binding; see `fillBuffer` for the default. */
  readonly fill: Named<Fill>;
  /** Numbers of the uniforms: `binding.field`, `field`, or the binding itself where it is not a struct. */
  readonly param: Named<readonly number[]>;
  readonly override: Named<number>;
  /** Values for `const NAME: type = value;` lines. */
  readonly const: Named<number>;
  readonly groups?: readonly [number, number?, number?];
  /** WGSL declarations of the bindings, where they cannot be read from the file; see `ShaderSource`. */
  readonly bindings?: string;
  /** An .mjs or .js file whose default export is a `ShaderCheck`. */
  readonly check?: string;
  readonly tolerance?: number;
  readonly seed?: number;
  /** Floating-point operations and bytes moved per launch. */
  readonly flops?: number;
  readonly bytes?: number;
}

/** A shader to time. `shared` settings are for several shaders: each uses those whose names it has. */
export interface ShaderSpec {
  /** An absolute path, or one below `shaders/` of this package. */
  readonly file: string;
  /** Name in the table. */
  readonly name: string;
  readonly own: ShaderSettings;
  readonly shared: ShaderSettings;
}

const NAMED = ['size', 'fill', 'param', 'override', 'const'] as const;
type Kind = (typeof NAMED)[number];

/** A shader that cannot be launched. */
interface Broken {
  readonly spec: ShaderSpec;
  readonly error: EliError;
}

/** A shader with its settings resolved against its text. */
interface Resolved {
  readonly spec: ShaderSpec;
  readonly source: ShaderSource;
  readonly module: GPUShaderModule;
  readonly shader: ShaderInterface;
  readonly names: Readonly<Record<Kind, readonly string[]>>;
  readonly settings: ShaderSettings;
  readonly groups: readonly [number, number, number];
  /** The numbers of each uniform by field, '' for one that is not a struct. */
  readonly uniforms: ReadonlyMap<BufferBinding, Named<readonly number[]>>;
}

const DEFAULT_TOLERANCE = 1e-5;

/**
 * Workloads of stand-alone shaders, timed together. Each is checked before it is timed. `prepare` of a shader whose text
 * does not compile throws EliError `WGSL` with file, line and column.
 * @throws EliError `ARGUMENT` for a size, number or name that is missing or unknown
 */
export async function shaderWorkloads(engine: Engine, specs: readonly ShaderSpec[]): Promise<Workload[]> {
  const all: (Resolved | Broken)[] = [];
  for (const spec of specs) {
    try {
      all.push(await resolve(engine, spec));
    } catch (error) {
      if (!(error instanceof EliError) || error.code !== 'WGSL') throw error;
      all.push({ spec, error });
    }
  }
  const resolved = all.filter((one) => 'settings' in one);
  // A name may be that of a shader which cannot be read.
  if (resolved.length === all.length) checkShared(resolved);
  const names = new Map<string, number>();
  return all.map((one) => {
    const { override, const: consts, flops, bytes } = { ...one.spec.shared, ...one.spec.own };
    const chosen = Object.entries(
      'settings' in one ? { ...one.settings.override, ...one.settings.const } : { ...override, ...consts },
    );
    const name = [`shader: ${one.spec.name}`, ...chosen.map(([key, value]) => `${key}=${value}`)].join(' ');
    const count = (names.get(name) ?? 0) + 1;
    names.set(name, count);
    return {
      name: count === 1 ? name : `${name} (${count})`,
      unit: 'launches',
      together: 'shaders',
      rated: !!flops && !!bytes,
      prepare: () => {
        if ('error' in one) throw one.error;
        return prepare(engine, one);
      },
    };
  });
}

async function resolve(engine: Engine, spec: ShaderSpec): Promise<Resolved> {
  const { own, shared } = spec;
  const consts = known(shared.const, constsOf(loadShader(spec.file)));
  const settings = { ...shared, ...own };
  const { bindings } = settings;
  const source = {
    ...loadShader(spec.file, { ...consts, ...own.const }),
    ...(bindings !== undefined && { bindings }),
  };
  const { module, messages } = await compile(engine, source);
  const shader = readInterface(source, settings.entry, messages);
  const names = namesOf(source, shader);
  for (const kind of NAMED) {
    const unknown = Object.keys(own[kind]).find((name) => !has(names[kind], name));
    if (unknown !== undefined) throw unknownName(`${spec.name} has no`, kind, unknown, names[kind]);
    Object.assign(settings, { [kind]: { ...known<unknown>(shared[kind], names[kind]), ...own[kind] } });
  }
  const groups = groupsOf(engine, spec, shader, settings);
  const unsized = names.size.find((name) => settings.size[name] === undefined);
  if (unsized !== undefined) {
    const behind = 'A flag after a --shader is for that shader, one before the first for all';
    throw wrong(
      spec,
      `the buffer ${unsized} has no size`,
      `set its elements: --size ${unsized}=N. ${behind}`,
    );
  }
  const uniforms = shader.buffers
    .filter(({ kind }) => kind === 'uniform')
    .map((buffer) => [buffer, uniformOf(spec, buffer, names.param, settings)] as const);
  return { spec, source, module, shader, names, settings, groups, uniforms: new Map(uniforms) };
}

function wrong({ name }: ShaderSpec, what: string, hint?: string): EliError {
  return new EliError('ARGUMENT', `${name}: ${what}`, hint === undefined ? {} : { hint });
}

/** @throws EliError `WGSL` saying also what the compiler, which has accepted the shader, says of it */
function readInterface(
  source: ShaderSource,
  entry: string | undefined,
  messages: readonly GPUCompilationMessage[],
): ShaderInterface {
  try {
    return reflectInterface(source, entry);
  } catch (cause) {
    const lines = messages.map(
      (m) => `\n  ${originOf(source, m.lineNum)}:${m.linePos}: ${m.type}: ${m.message}`,
    );
    const dawn = `The compiler (Dawn) accepts the shader${lines.length === 0 ? '' : `:${lines.join('')}`}`;
    throw new EliError('WGSL', `${(cause as Error).message}\n${dawn}`, { cause });
  }
}

async function compile({ device }: Engine, source: ShaderSource) {
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code: source.code, label: source.file });
  const [error, info] = await Promise.all([device.popErrorScope(), module.getCompilationInfo()]);
  if (error !== null) throw compileError(source, error, info);
  return { module, messages: info.messages };
}

const constsOf = ({ code }: ShaderSource): string[] =>
  [...code.matchAll(/^const (\w+)\s*:\s*(?:u32|i32|f32)\s*=/gm)].map(([, name]) => name!);

/** The names that a shader has for each kind of setting. */
function namesOf(source: ShaderSource, { buffers, overrides }: ShaderInterface): Resolved['names'] {
  const uniforms = buffers.filter(({ kind }) => kind === 'uniform');
  return {
    size: buffers.filter(({ element }) => element !== undefined).map(({ name }) => name),
    fill: buffers.filter(({ kind }) => kind === 'storage').map(({ name }) => name),
    param: uniforms.flatMap(({ name, fields }) => fields?.map((field) => `${name}.${field.name}`) ?? [name]),
    override: [...overrides.keys()],
    const: constsOf(source),
  };
}

const fieldOf = (path: string): string => path.slice(path.indexOf('.') + 1);

/** Whether `name` is one of the names, or the field of a uniform among them. */
const has = (names: readonly string[], name: string): boolean =>
  names.some((other) => other === name || fieldOf(other) === name);

const known = <T>(settings: Named<T>, names: readonly string[]): Record<string, T> =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => has(names, name)));

function unknownName(where: string, kind: Kind, name: string, names: readonly string[]): EliError {
  const what = {
    size: `runtime-sized storage array ${name}`,
    fill: `storage buffer ${name}`,
    param: `uniform ${name}`,
    override: `override ${name}`,
    const: `const ${name}`,
  }[kind];
  return new EliError('ARGUMENT', `${where} ${what}`, {
    hint: names.length > 0 ? `it has ${names.join(', ')}` : `leave out --${kind} ${name}=…`,
  });
}

/** @throws EliError `ARGUMENT` for a name among the shared settings that no shader has */
function checkShared(resolved: readonly Resolved[]): void {
  for (const kind of NAMED) {
    for (const name of Object.keys(resolved[0]?.spec.shared[kind] ?? {})) {
      if (resolved.some(({ settings }) => name in settings[kind])) continue;
      const names = new Set(resolved.flatMap((one) => one.names[kind]));
      throw unknownName('no shader has the', kind, name, [...names]);
    }
  }
}

function groupsOf(
  engine: Engine,
  spec: ShaderSpec,
  { workgroup }: ShaderInterface,
  { groups, size }: ShaderSettings,
): [number, number, number] {
  if (groups === undefined) {
    const missing = 'the number of workgroups to launch is missing';
    if (workgroup === undefined) throw wrong(spec, missing, 'set it with --groups X,Y,Z');
    const invocations = workgroup.reduce((product, n) => product * n, 1);
    const most = Math.max(1, ...Object.values(size));
    const example = `one for each of ${most} elements takes --groups ${Math.ceil(most / invocations)}`;
    const hint = `--groups X,Y,Z. A workgroup has ${workgroup.join(' × ')} invocations: ${example}`;
    throw wrong(spec, missing, hint);
  }
  const [x, y = 1, z = 1] = groups;
  const limit = engine.device.limits.maxComputeWorkgroupsPerDimension;
  if (Math.max(x, y, z) > limit)
    throw wrong(spec, `${x} × ${y} × ${z} workgroups are over the limit of ${limit} per dimension`);
  return [x, y, z];
}

function uniformOf(
  spec: ShaderSpec,
  buffer: BufferBinding,
  paths: readonly string[],
  { param }: ShaderSettings,
): Named<readonly number[]> {
  const fields = buffer.fields ?? [{ name: '', leaves: buffer.head }];
  const values = fields.map(({ name, leaves }) => {
    const path = name === '' ? buffer.name : `${buffer.name}.${name}`;
    // The field's name is enough where only one uniform has it.
    const alone = paths.filter((other) => fieldOf(other) === name).length === 1;
    const numbers = param[path] ?? (alone ? param[name] : undefined);
    if (numbers === undefined) {
      const example = leaves.length === 1 ? 'N' : 'N,N,…';
      throw wrong(spec, `the uniform ${path} has no value`, `set it with --param ${path}=${example}`);
    }
    if (numbers.length !== leaves.length)
      throw wrong(spec, `the uniform ${path} takes ${leaves.length} numbers, ${numbers.length} were given`);
    return [name, numbers] as const;
  });
  return Object.fromEntries(values);
}

/** A storage buffer on the device, and its initial bytes. */
interface Storage {
  readonly buffer: BufferBinding;
  readonly start: Uint8Array<ArrayBuffer>;
  readonly at: ReturnType<Engine['allocate']>;
}

async function prepare(engine: Engine, one: Resolved): Promise<Prepared> {
  const { spec, source, shader, settings, groups } = one;
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
        const uniform = writeUniform(device, buffer, Object.values(one.uniforms.get(buffer)!).flat());
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
    const dispatch = { kernel, bindGroup, groups };
    const program = new Program(engine, undefined, [dispatch], free);
    const launched = {
      dispatch,
      shader,
      code: source.code,
      constants: constantsOf(one),
      width: widthOf(one),
      storages,
    };
    return {
      run: (times) => program.run(times),
      ...(settings.check && { check: () => check(engine, one, program, storages) }),
      race: () => findRaces(engine, spec.name, launched),
      ...(settings.flops !== undefined && { flops: settings.flops }),
      ...(settings.bytes !== undefined && { bytes: settings.bytes }),
      dispose: () => program.dispose(),
    };
  } catch (error) {
    free();
    throw error;
  }
}

/** Runs the shader once on the initial contents and compares what it wrote with what its check expects. */
async function check(
  engine: Engine,
  { spec, names, settings, uniforms, groups }: Resolved,
  program: Program<void>,
  storages: readonly Storage[],
): Promise<void> {
  const expected = await checkOf(settings.check!);
  for (const { at, start } of storages) engine.write(at, 0, start);
  program.run();
  const inputs = storages.map(({ buffer, start }) => [buffer.name, contentsOf(buffer, start.slice().buffer)]);
  const want = await expected({
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
    if (storage === undefined)
      throw unknownName(`${settings.check}: ${spec.name} has no`, 'fill', name, names.fill);
    const got = contentsOf(storage.buffer, await engine.read(storage.at, 0, storage.start.length));
    compareContents(`${spec.name}: ${name}`, got, values, settings.tolerance ?? DEFAULT_TOLERANCE);
  }
}

/** The values of overrides by their keys in a pipeline's constants. */
const constantsOf = ({ shader, settings }: Resolved): Record<string, number> =>
  Object.fromEntries(
    Object.entries(settings.override).map(([name, value]) => [shader.overrides.get(name)!, value]),
  );

/** Invocations of a workgroup along x; undefined where an override may have changed what reflection says. */
function widthOf({ source, shader, settings }: Resolved): number | undefined {
  const [match, ...more] = source.code.matchAll(/@workgroup_size\s*\(\s*(\w+)\s*[,)]/g);
  const first = match?.[1];
  if (first === undefined || more.length > 0) return undefined;
  return settings.override[first] ?? shader.workgroup?.[0];
}

async function pipelineOf({ device }: Engine, one: Resolved) {
  const { source, module, shader } = one;
  device.pushErrorScope('validation');
  const kernel = createPipeline(device, `${one.spec.name}:${shader.entry}`, shader.buffers, {
    module,
    entryPoint: shader.entry,
    constants: constantsOf(one),
  });
  const [error, info] = await Promise.all([device.popErrorScope(), module.getCompilationInfo()]);
  if (error !== null) throw compileError(source, error, info);
  return kernel;
}

function valuesOf(fields: Named<readonly number[]>): ShaderCase['uniforms'][string] {
  const values = Object.entries(fields).map(([name, numbers]) => {
    return [name, numbers.length === 1 ? numbers[0]! : numbers] as const;
  });
  return fields[''] === undefined ? Object.fromEntries(values) : values[0]![1];
}
