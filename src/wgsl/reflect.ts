import { EliError, nameOf } from '../errors.ts';
import { getOrInsert } from '../maps.ts';
import { type Binding, bindingOf, type FieldLayout, type Leaf, leavesOf } from './interface.ts';
import { parseModule } from './module.ts';
import type { ShaderSource } from './source.ts';

/** What the runtime must know of a kernel, read from its WGSL: all buffers of group 0, whether `main` uses them or not. */
export interface KernelLayout {
  readonly file: string;
  /** In the order of their bindings. */
  readonly storage: readonly Binding[];
  /** The `Params` struct. */
  readonly uniform: (Binding & { readonly fields: readonly FieldLayout[] }) | undefined;
  readonly overrides: ReadonlySet<string>;
}

const cache = new WeakMap<ShaderSource, KernelLayout>();

/**
 * Reflects the bindings, the `Params` layout and the overrides of a shader.
 * @throws EliError `WGSL` when the text cannot be parsed or uses a resource that kernels here do not have.
 */
export function reflectShader(source: ShaderSource): KernelLayout {
  return getOrInsert(cache, source, () => reflect(source));
}

function reflect(source: ShaderSource): KernelLayout {
  const { file } = source;
  const { entries, resources, overrides } = parseModule(source);
  if (!entries.some((entry) => entry.name === 'main')) {
    throw new EliError('WGSL', `${file} has no compute entry point named main`);
  }
  const storage: Binding[] = [];
  let uniform: KernelLayout['uniform'];
  for (const resource of resources) {
    const binding = bindingOf(file, resource);
    if (binding.kind === 'storage') storage.push(binding);
    else {
      const fields = (resource.members ?? []).map(({ name, type, offset }) => {
        const leaves = leavesOf(`${file}: params.${name}`, type, offset);
        if (leaves.some(({ scalar }) => scalar === 'f16')) {
          throw new EliError('WGSL', `${file}: params.${name} is f16, which Params cannot hold`);
        }
        return { name, leaves };
      });
      uniform = { ...binding, fields };
    }
  }
  return { file, storage, uniform, overrides: new Set(overrides.map((o) => o.name)) };
}

/** Values of a `Params` struct by field name. */
export type ParamValues = Readonly<Record<string, number | readonly number[]>>;

/**
 * Writes `values` into `bytes`, from byte `at`.
 * @throws EliError `WGSL` for a field that is missing, unknown or too long, or an integer that 32 bits do not hold.
 */
export function packParams(layout: KernelLayout, values: ParamValues, bytes: DataView, at: number): void {
  const { file } = layout;
  const fields = layout.uniform?.fields ?? [];
  const set = (name: string, leaf: Leaf, value: number): void => {
    if (setNumber(bytes, at, leaf, value)) return;
    throw new EliError('WGSL', `${file}: params.${name} is ${value}, which ${leaf.scalar} does not hold`, {
      hint: 'the shapes, strides or offsets are too large for this kernel: use smaller tensors',
    });
  };
  for (const { name, leaves } of fields) {
    const value = values[name];
    if (value === undefined) throw new EliError('WGSL', `${file}: params.${name} was given no value`);
    if (typeof value === 'number') {
      set(name, leaves[0]!, value);
      continue;
    }
    if (!Array.isArray(value)) {
      throw new EliError('ARGUMENT', `${file}: params.${name} is ${nameOf(value)}, must be a number`);
    }
    if (value.length > leaves.length) {
      throw new EliError(
        'WGSL',
        `${file}: params.${name} holds ${leaves.length} numbers, ${value.length} were given`,
      );
    }
    for (let i = 0; i < leaves.length; i++) set(name, leaves[i]!, value[i] ?? 0);
  }
  const names = Object.keys(values);
  if (names.length !== fields.length) {
    const unknown = names.filter((name) => !fields.some((field) => field.name === name));
    throw new EliError('WGSL', `${file}: Params has no field ${unknown.join(', ')}`);
  }
}

/** False where the value would wrap around: as an index it would read or write somewhere else. */
function setNumber(bytes: DataView, at: number, { offset, scalar }: Leaf, value: number): boolean {
  if (scalar === 'f32') bytes.setFloat32(at + offset, value, true);
  else bytes.setUint32(at + offset, value, true);
  return scalar === 'f32' || (scalar === 'u32' ? value >>> 0 : value | 0) === value;
}
