import {
  type ArrayInfo,
  ResourceType,
  type StructInfo,
  type TemplateInfo,
  type TypeInfo,
  type VariableInfo,
} from 'wgsl_reflect/wgsl_reflect.module.js';
import { EliError } from '../errors.ts';
import { parseModule } from './module.ts';
import type { ShaderSource } from './source.ts';

export type Scalar = 'f32' | 'i32' | 'u32' | 'f16';

/** A number in memory, at a byte offset from the start of its buffer or array element. */
export interface Leaf {
  readonly offset: number;
  readonly scalar: Scalar;
}

export interface FieldLayout {
  readonly name: string;
  readonly leaves: readonly Leaf[];
}

/** A buffer of group 0. */
export interface Binding {
  readonly name: string;
  readonly binding: number;
  readonly kind: 'uniform' | 'storage';
  readonly writable: boolean;
  /** Bytes of a uniform, a multiple of 16; 0 for storage. */
  readonly size: number;
}

/** A buffer with the layout of its contents. */
export interface BufferBinding extends Binding {
  /** What precedes the elements of a runtime-sized array, and its bytes; without such an array, everything. */
  readonly head: readonly Leaf[];
  readonly headBytes: number;
  /** The elements of a runtime-sized array. */
  readonly element: { readonly leaves: readonly Leaf[]; readonly stride: number } | undefined;
  /** The fields of a struct. */
  readonly fields: readonly FieldLayout[] | undefined;
}

/** What an entry point of any shader binds, directly or in the functions it calls. */
export interface ShaderInterface {
  readonly entry: string;
  /** With the default values of overrides; `undefined` where an override has none. */
  readonly workgroup: readonly [number, number, number] | undefined;
  readonly buffers: readonly BufferBinding[];
  /** The keys of overrides in a pipeline's constants, by name. */
  readonly overrides: ReadonlyMap<string, string>;
}

/**
 * Reflects one compute entry point; `entry` may be left out where there is only one.
 * @throws EliError `WGSL` when there is no such entry point, or several, or for a resource that is not a buffer of group 0.
 */
export function reflectInterface(source: ShaderSource, entry?: string): ShaderInterface {
  const { entries, overrides } = parseModule(source);
  const found = entry === undefined ? entries : entries.filter(({ name }) => name === entry);
  if (entries.length === 0) {
    throw new EliError('WGSL', `${source.file} has no compute entry point`, {
      hint: 'mark a function with @compute @workgroup_size(…)',
    });
  }
  if (found.length !== 1) {
    const names = entries.map(({ name }) => name).join(', ');
    const wrong =
      entry === undefined ? `several entry points: ${names}` : `no entry point ${entry}, but ${names}`;
    throw new EliError('WGSL', `${source.file} has ${wrong}`, { hint: 'choose one with --entry' });
  }
  const main = found[0]!;
  const buffers = main.resources.map((resource) => bufferOf(source.file, resource));
  return {
    entry: main.name,
    workgroup: main.workgroup,
    buffers,
    overrides: new Map(
      overrides.map(({ name, id, attributes }) => [
        name,
        attributes?.some((attribute) => attribute.name === 'id') ? String(id) : name,
      ]),
    ),
  };
}

/** @throws EliError `WGSL` for a resource that is not a buffer of group 0. */
export function bindingOf(
  file: string,
  { name, binding, group, resourceType, access, type }: VariableInfo,
): Binding {
  if (resourceType !== ResourceType.Storage && resourceType !== ResourceType.Uniform) {
    throw new EliError('WGSL', `${file}: ${name} is neither a storage buffer nor a uniform`);
  }
  if (group !== 0) {
    throw new EliError('WGSL', `${file}: ${name} is in group ${group}`, {
      hint: 'put all bindings into group 0',
    });
  }
  const kind = resourceType === ResourceType.Uniform ? 'uniform' : 'storage';
  return {
    name,
    binding,
    kind,
    writable: kind === 'storage' && access !== 'read',
    size: kind === 'uniform' ? Math.ceil(type.size / 16) * 16 : 0,
  };
}

function bufferOf(file: string, resource: VariableInfo): BufferBinding {
  const { name, type, members } = resource;
  const leaves = (of: TypeInfo, at: number) => leavesOf(`${file}: ${name}`, of, at);
  const last = members === null ? type : members.at(-1)!.type;
  const tail = last.isArray && (last as ArrayInfo).count === 0 ? (last as ArrayInfo) : undefined;
  const fields = members
    ?.filter((member) => member.type !== tail)
    .map((member) => ({ name: member.name, leaves: leaves(member.type, member.offset) }));
  return {
    ...bindingOf(file, resource),
    head: fields?.flatMap((field) => field.leaves) ?? (tail === undefined ? leaves(type, 0) : []),
    headBytes: tail === undefined ? type.size : (members?.at(-1)?.offset ?? 0),
    element: tail && { leaves: leaves(tail.format, 0), stride: tail.stride },
    fields,
  };
}

const SCALARS: Readonly<Record<string, Scalar>> = {
  ...{ f32: 'f32', i32: 'i32', u32: 'u32', f16: 'f16' },
  ...{ f: 'f32', i: 'i32', u: 'u32', h: 'f16' },
};

/**
 * The numbers of a type in memory order, from byte `at`.
 * @throws EliError `WGSL` for a type that is not made of 16-bit and 32-bit numbers.
 */
export function leavesOf(where: string, type: TypeInfo, at: number): Leaf[] {
  const repeat = (count: number, stride: number, of: (offset: number) => Leaf[]): Leaf[] =>
    Array.from({ length: count }, (_, i) => of(at + i * stride)).flat();
  if (type.isStruct) {
    return (type as StructInfo).members.flatMap((member) => leavesOf(where, member.type, at + member.offset));
  }
  if (type.isArray) {
    const { count, stride, format } = type as ArrayInfo;
    return repeat(count, stride, (offset) => leavesOf(where, format, offset));
  }
  const { name } = type;
  const inner = (type as TemplateInfo).format?.name;
  const [, base, columns, rows, suffix] = /^(?:(vec|mat)([234])(?:x([234]))?|atomic)?(\w*)$/.exec(name) ?? [];
  const scalar = SCALARS[inner ?? suffix ?? ''];
  if (scalar === undefined) {
    throw new EliError('WGSL', `${where} has the unsupported type ${name}`, {
      hint: 'supported are 16-bit and 32-bit numbers, and vectors, matrices, arrays and structs of them',
    });
  }
  const bytes = scalar === 'f16' ? 2 : 4;
  const numbers = (count: number, from: number): Leaf[] =>
    Array.from({ length: count }, (_, i) => ({ offset: from + i * bytes, scalar }));
  if (base !== 'mat') return numbers(Number(columns ?? 1), at);
  // A column of three numbers takes the space of four.
  return repeat(Number(columns), bytes * (rows === '2' ? 2 : 4), (from) => numbers(Number(rows), from));
}
