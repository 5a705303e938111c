import {
  type ArrayInfo,
  type MemberInfo,
  ResourceType,
  type StructInfo,
  type TemplateInfo,
  type TypeInfo,
  type VariableInfo,
} from 'wgsl_reflect/wgsl_reflect.module.js';
import { EliError } from '../errors.ts';
import { parseShader } from './reflect.ts';
import type { ShaderSource } from './source.ts';

export type Scalar = 'f32' | 'i32' | 'u32' | 'f16';

/** A number in memory. */
export interface Leaf {
  /** In bytes from the start of what it is part of. */
  readonly offset: number;
  readonly scalar: Scalar;
}

export interface FieldLayout {
  readonly name: string;
  readonly leaves: readonly Leaf[];
}

/** A buffer that a kernel binds. */
export interface BufferBinding {
  readonly name: string;
  readonly binding: number;
  readonly kind: 'uniform' | 'storage';
  readonly writable: boolean;
  /** What comes before the elements, and its size; all of it where the size is fixed. */
  readonly head: readonly Leaf[];
  readonly headBytes: number;
  /** The elements of an array whose length the buffer decides. */
  readonly element: { readonly leaves: readonly Leaf[]; readonly stride: number } | undefined;
  /** Fields, where it is a struct. */
  readonly fields: readonly FieldLayout[] | undefined;
}

/** What an entry point of any shader binds, calls included: not only of kernels written for this engine. */
export interface ShaderInterface {
  readonly entry: string;
  /** Overrides that are set are ignored. */
  readonly workgroup: readonly [number, number, number];
  readonly buffers: readonly BufferBinding[];
  /** The key by which a pipeline knows an override, by its name. */
  readonly overrides: ReadonlyMap<string, string>;
}

/**
 * Reflects one compute entry point; `entry` may be left out where there is only one.
 * @throws EliError `WGSL` when there is no such entry point, or several, or for a resource that is not a buffer of group 0.
 */
export function reflectInterface(source: ShaderSource, entry?: string): ShaderInterface {
  const parsed = parseShader(source);
  const entries = parsed.entry.compute;
  const names = entries.map(({ name }) => name).join(', ');
  const found = entry === undefined ? entries : entries.filter(({ name }) => name === entry);
  if (found.length !== 1) {
    throw entries.length === 0
      ? new EliError('WGSL', `${source.file} has no compute entry point`, {
          hint: 'mark a function with @compute @workgroup_size(…)',
        })
      : new EliError(
          'WGSL',
          entry === undefined
            ? `${source.file} has several entry points: ${names}`
            : `${source.file} has no entry point ${entry}, but ${names}`,
          { hint: 'choose one with --entry' },
        );
  }
  const main = found[0]!;
  const buffers = main.resources.map((resource) => bufferOf(source.file, resource));
  buffers.sort((a, b) => a.binding - b.binding);
  return {
    entry: main.name,
    workgroup: main.workgroupSize ?? [1, 1, 1],
    buffers,
    overrides: new Map(
      parsed.overrides.map(({ name, id, attributes }) => [
        name,
        attributes?.some((attribute) => attribute.name === 'id') ? String(id) : name,
      ]),
    ),
  };
}

function bufferOf(file: string, resource: VariableInfo): BufferBinding {
  const { name, binding, group, resourceType, type } = resource;
  if (resourceType !== ResourceType.Storage && resourceType !== ResourceType.Uniform) {
    throw new EliError('WGSL', `${file}: ${name} is neither a storage buffer nor a uniform`);
  }
  if (group !== 0) {
    throw new EliError('WGSL', `${file}: ${name} is in group ${group}`, {
      hint: 'put all bindings into group 0',
    });
  }
  const members = type.isStruct ? (type as StructInfo).members : undefined;
  const tail = lengthless(type) ? (type as ArrayInfo) : lastOf(members);
  const leaves = (of: TypeInfo, at: number) => leavesOf(`${file}: ${name}`, of, at);
  const fixed = members?.filter((member) => member.type !== tail);
  return {
    name,
    binding,
    kind: resourceType === ResourceType.Uniform ? 'uniform' : 'storage',
    writable: resourceType === ResourceType.Storage && resource.access !== 'read',
    ...(tail === undefined
      ? { head: leaves(type, 0), headBytes: type.size, element: undefined }
      : {
          head: (fixed ?? []).flatMap((member) => leaves(member.type, member.offset)),
          headBytes: members?.at(-1)?.offset ?? 0,
          element: { leaves: leaves(tail.format, 0), stride: tail.stride },
        }),
    fields: fixed?.map((member) => ({ name: member.name, leaves: leaves(member.type, member.offset) })),
  };
}

const lengthless = (type: TypeInfo): boolean => type.isArray && (type as ArrayInfo).count === 0;

function lastOf(members: readonly MemberInfo[] | undefined): ArrayInfo | undefined {
  const last = members?.at(-1)?.type;
  return last !== undefined && lengthless(last) ? (last as ArrayInfo) : undefined;
}

const SCALARS: Readonly<Record<string, Scalar>> = {
  ...{ f32: 'f32', i32: 'i32', u32: 'u32', f16: 'f16' },
  ...{ f: 'f32', i: 'i32', u: 'u32', h: 'f16' },
};

/** The numbers of a type in the order in which they lie in memory. */
function leavesOf(where: string, type: TypeInfo, at: number): Leaf[] {
  const repeat = (count: number, stride: number, of: (offset: number) => Leaf[]): Leaf[] =>
    Array.from({ length: count }, (_, i) => of(at + i * stride)).flat();
  if (type.isStruct) {
    return (type as StructInfo).members.flatMap((member) => leavesOf(where, member.type, at + member.offset));
  }
  if (type.isArray) {
    const { count, stride, format } = type as ArrayInfo;
    return repeat(count, stride, (offset) => leavesOf(where, format, offset));
  }
  const name = type.name;
  const inner = (type as TemplateInfo).format?.name;
  const [, base, columns, rows, suffix] = /^(?:(vec|mat)([234])(?:x([234]))?|atomic)?(\w*)$/.exec(name) ?? [];
  const scalar = SCALARS[inner ?? suffix ?? ''];
  if (scalar !== undefined) {
    const bytes = scalar === 'f16' ? 2 : 4;
    const vector = (n: number) => (offset: number) =>
      Array.from({ length: n }, (_, i): Leaf => ({ offset: offset + i * bytes, scalar }));
    if (base === 'vec') return vector(Number(columns))(at);
    // A column of three numbers takes the space of four.
    if (base === 'mat') return repeat(Number(columns), bytes * (rows === '2' ? 2 : 4), vector(Number(rows)));
    return vector(1)(at);
  }
  throw new EliError('WGSL', `${where} holds the type ${name}, which is not supported here`, {
    hint: 'numbers of 16 and 32 bits are, in vectors, matrices, arrays and structs',
  });
}
