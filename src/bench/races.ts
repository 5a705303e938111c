import type { Engine } from '../gpu/engine.ts';
import { createPipeline } from '../gpu/pipelines.ts';
import { Program } from '../gpu/program.ts';
import type { Dispatch } from '../gpu/recorder.ts';
import type { BufferBinding, ShaderInterface } from '../wgsl/interface.ts';
import { type Reordering, reordered } from './reorder.ts';
import { type Contents, contentsOf } from './shader-data.ts';

/** A kernel as it is launched, and its storage buffers with their initial bytes. */
export interface Launched {
  readonly dispatch: Dispatch;
  readonly shader: ShaderInterface;
  readonly code: string;
  readonly constants: Record<string, number>;
  /** Invocations of a workgroup along x, with the overrides of the launch; undefined if not known. */
  readonly width: number | undefined;
  readonly storages: readonly {
    readonly buffer: BufferBinding;
    readonly start: Uint8Array<ArrayBuffer>;
    readonly at: ReturnType<Engine['allocate']>;
  }[];
}

const CHANGES: readonly (readonly [string, Reordering])[] = [
  ['when it runs a second time', {}],
  ['with workgroups in reverse order', { reverse: 'workgroups' }],
  ['with the invocations of a workgroup in reverse order', { reverse: 'invocations' }],
  ['with workgroups of half the size', { halve: true }],
];

/**
 * Runs a kernel on the same contents again, with its workgroups and invocations in another order and in smaller workgroups,
 * and compares the bits of what it writes: they differ where a result depends on which invocation comes first.
 * Changes that would alter what the kernel means are left out.
 * @returns what differs first, undefined if nothing does
 */
export async function findRaces(
  engine: Engine,
  name: string,
  launched: Launched,
): Promise<string | undefined> {
  const want = await resultOf(engine, launched, launched.dispatch);
  for (const [how, change] of CHANGES) {
    const again =
      change.reverse || change.halve ? await changed(engine, launched, change) : launched.dispatch;
    if (again === undefined) continue;
    const got = await resultOf(engine, launched, again);
    for (const [buffer, before] of want) {
      const after = got.get(buffer)!;
      const first = before.findIndex((value, i) => !Object.is(value, after[i]));
      if (first < 0) continue;
      let count = 0;
      for (let i = first; i < before.length; i++) if (!Object.is(before[i], after[i])) count++;
      return `${name}: the result depends on the order of invocations: ${buffer}[${first}] is ${before[first]}, and ${after[first]} ${how} (${count} of ${before.length} differ)`;
    }
  }
  return undefined;
}

/** What the kernel writes, from the initial contents. */
async function resultOf(
  engine: Engine,
  { storages }: Launched,
  dispatch: Dispatch,
): Promise<Map<string, Contents>> {
  for (const { at, start } of storages) engine.write(at, 0, start);
  new Program(engine, undefined, [dispatch], () => undefined).run();
  const contents = new Map<string, Contents>();
  for (const { buffer, start, at } of storages) {
    if (buffer.writable)
      contents.set(buffer.name, contentsOf(buffer, await engine.read(at, 0, start.length)));
  }
  return contents;
}

/** The changed kernel; undefined where the change does not apply or the changed text does not compile. */
async function changed(
  { device }: Engine,
  { dispatch, shader, code, constants, width }: Launched,
  change: Reordering,
): Promise<Dispatch | undefined> {
  const text = reordered(code, shader.entry, change);
  const [x, y = 1, z = 1] = dispatch.groups;
  if (text === undefined) return undefined;
  if (change.halve && (!width || width % 2 > 0 || 2 * x > device.limits.maxComputeWorkgroupsPerDimension))
    return undefined;
  device.pushErrorScope('validation');
  const kernel = createPipeline(device, `${dispatch.kernel.label}, reordered`, shader.buffers, {
    module: device.createShaderModule({ code: text }),
    entryPoint: shader.entry,
    constants,
  });
  if ((await device.popErrorScope()) !== null) return undefined;
  return { ...dispatch, kernel, groups: change.halve ? [2 * x, y, z] : dispatch.groups };
}
