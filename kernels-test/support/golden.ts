import { existsSync, readFileSync } from 'node:fs';

export interface GoldenArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export interface GoldenCase {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: each op has arguments of its own
  readonly args: any;
  readonly inputs: Readonly<Record<string, GoldenArray>>;
  readonly outputs: Readonly<Record<string, GoldenArray>>;
}

/** The full set where it is at hand beside the project, else the few cases of data/golden. */
const FOLDERS = ['../../../shared/golden/', '../../data/golden/'].map(
  (path) => new URL(path, import.meta.url),
);

/** A case computed by PyTorch in float64, or undefined where this checkout does not have it. */
export function goldenCase(name: string): GoldenCase | undefined {
  const url = FOLDERS.map((folder) => new URL(`${name}.json`, folder)).find((file) => existsSync(file));
  if (url === undefined) return undefined;
  const json = JSON.parse(readFileSync(url, 'utf8'));
  return { name, args: json.args, inputs: arrays(json.inputs), outputs: arrays(json.outputs.f64) };
}

function arrays(entries: Record<string, { shape: number[]; dtype: string; data?: number[]; b64?: string }>) {
  const out: Record<string, GoldenArray> = {};
  for (const [key, entry] of Object.entries(entries)) out[key] = { shape: entry.shape, data: decode(entry) };
  return out;
}

const ARRAYS = { f64: Float64Array, f32: Float32Array, i64: BigInt64Array } as const;

function decode(entry: { dtype: string; data?: number[]; b64?: string }): Float64Array {
  if (entry.b64 === undefined) return Float64Array.from([entry.data ?? []].flat());
  const bytes = Uint8Array.from(Buffer.from(entry.b64, 'base64'));
  const raw = new ARRAYS[entry.dtype as keyof typeof ARRAYS](bytes.buffer);
  return Float64Array.from(raw as ArrayLike<number | bigint>, Number);
}
