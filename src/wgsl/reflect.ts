import { ResourceType, WgslReflect } from 'wgsl_reflect/wgsl_reflect.module.js';
import { EliError } from '../errors.ts';
import { originOf, type ShaderSource } from './source.ts';

/** One field of a kernel's uniform `Params` struct. */
export interface ParamField {
  readonly name: string;
  /** Byte offset in the struct. */
  readonly offset: number;
  readonly scalar: 'f32' | 'u32' | 'i32';
  /** Number of scalars: 1 for a scalar, 4 for a vec4, 4·k for an array of k vec4. */
  readonly count: number;
}

export interface StorageBinding {
  readonly name: string;
  readonly binding: number;
  readonly writable: boolean;
}

/** What the runtime must know of a kernel, read from its WGSL: group 0 only, entry point `main`. */
export interface KernelLayout {
  readonly storage: readonly StorageBinding[];
  readonly uniform:
    | { readonly binding: number; readonly size: number; readonly fields: readonly ParamField[] }
    | undefined;
  readonly overrides: ReadonlySet<string>;
}

const cache = new WeakMap<ShaderSource, KernelLayout>();

/**
 * Reflects the bindings, the `Params` layout and the overrides of a shader.
 * @throws EliError `WGSL` when the text cannot be parsed or uses a resource that kernels here do not have.
 */
export function reflectShader(source: ShaderSource): KernelLayout {
  let layout = cache.get(source);
  if (layout === undefined) {
    layout = reflect(source);
    cache.set(source, layout);
  }
  return layout;
}

/** What a shader hides from the reflection library: functions and types that use WGSL it does not know. */
const UNREFLECTED = /^\/\/!unreflected[\s\S]*?^\/\/!reflected$/gm;

/** @throws EliError `WGSL` with the line that cannot be parsed. */
export function parseShader(source: ShaderSource): InstanceType<typeof WgslReflect> {
  try {
    // Blank lines keep the numbers of the others.
    return new WgslReflect(source.code.replace(UNREFLECTED, (text) => text.replace(/.+/g, '')));
  } catch (cause) {
    const message = String((cause as Error).message ?? cause);
    const line = /Line: (\d+)/.exec(message);
    const place = line === null ? source.file : originOf(source, Number(line[1]));
    throw new EliError('WGSL', `${place}: cannot be parsed for reflection: ${message}`, { cause });
  }
}

function reflect(source: ShaderSource): KernelLayout {
  const parsed = parseShader(source);
  if (!parsed.entry.compute.some((entry) => entry.name === 'main')) {
    throw new EliError('WGSL', `${source.file} has no compute entry point named main`);
  }
  const storage: StorageBinding[] = [];
  let uniform: KernelLayout['uniform'];
  for (const resource of parsed.getBindGroups()[0] ?? []) {
    if (resource === undefined) continue;
    if (resource.resourceType === ResourceType.Storage) {
      storage.push({ name: resource.name, binding: resource.binding, writable: resource.access !== 'read' });
    } else if (resource.resourceType === ResourceType.Uniform) {
      const members = resource.members ?? [];
      uniform = {
        binding: resource.binding,
        size: Math.ceil(resource.size / 16) * 16,
        fields: members.map((m) => paramField(source.file, m.name, m.type.name, m.offset, m.size)),
      };
    } else {
      throw new EliError(
        'WGSL',
        `${source.file}: ${resource.name} is neither a storage buffer nor the uniform Params`,
      );
    }
  }
  storage.sort((a, b) => a.binding - b.binding);
  return { storage, uniform, overrides: new Set(parsed.overrides.map((o) => o.name)) };
}

function paramField(file: string, name: string, type: string, offset: number, size: number): ParamField {
  // Arrays in a uniform have elements of 16 bytes, so only arrays of vec4 are packed without holes.
  const scalar = /^(?:vec[234])?(f|u|i)(?:32)?$/.exec(type);
  if (scalar !== null) return { name, offset, scalar: `${scalar[1] as 'f' | 'u' | 'i'}32`, count: size / 4 };
  if (type === 'array') return { name, offset, scalar: 'u32', count: size / 4 };
  throw new EliError(
    'WGSL',
    `${file}: the type ${type} of params.${name} is not supported (scalars, vectors, array<vec4u, k>)`,
  );
}

/** Values of a `Params` struct by field name. */
export type ParamValues = Readonly<Record<string, number | readonly number[]>>;

/**
 * Writes `values` into `bytes` (from byte `at`) by the reflected layout.
 * @throws EliError `WGSL` for a field that is missing, unknown or too long.
 */
export function packParams(
  file: string,
  layout: KernelLayout,
  values: ParamValues,
  bytes: DataView,
  at: number,
): void {
  const fields = layout.uniform?.fields ?? [];
  let used = 0;
  for (const field of fields) {
    const value = values[field.name];
    if (value === undefined) throw new EliError('WGSL', `${file}: params.${field.name} was given no value`);
    used++;
    const offset = at + field.offset;
    if (typeof value === 'number') {
      setScalar(bytes, offset, field.scalar, value);
      continue;
    }
    if (value.length > field.count) {
      throw new EliError(
        'WGSL',
        `${file}: params.${field.name} holds ${field.count} numbers, ${value.length} were given`,
      );
    }
    for (let i = 0; i < field.count; i++) setScalar(bytes, offset + 4 * i, field.scalar, value[i] ?? 0);
  }
  if (used !== Object.keys(values).length) {
    const known = new Set(fields.map((f) => f.name));
    const unknown = Object.keys(values).filter((name) => !known.has(name));
    throw new EliError('WGSL', `${file}: Params has no field ${unknown.join(', ')}`);
  }
}

function setScalar(bytes: DataView, offset: number, scalar: ParamField['scalar'], value: number): void {
  if (scalar === 'f32') bytes.setFloat32(offset, value, true);
  else bytes.setUint32(offset, value, true);
}
