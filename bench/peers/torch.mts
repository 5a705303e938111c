// PyTorch in a process of its own (torch_worker.py), told by lines of JSON what to prepare and to run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Contender } from './compare.mts';

export interface TorchWork {
  /** As in the table. */
  readonly library: string;
  /** Class of torch_worker.py, and what it is made with. */
  readonly task: string;
  readonly options?: Record<string, unknown>;
  /** Arrays by name. */
  readonly inputs: Readonly<
    Record<string, { readonly data: Float32Array; readonly shape: readonly number[] }>
  >;
  readonly device?: 'cpu' | 'cuda';
  readonly dtype?: 'f16' | 'f32' | 'f64';
  /** Whether a GPU may round what it multiplies to 10 bits of mantissa. */
  readonly tf32?: boolean;
}

export interface Torch {
  readonly version: string;
  /** The GPU's name, if it has one. */
  readonly cuda: string | null;
  /** Whether it has torch.compile. */
  readonly compile: boolean;
  readonly contender: (work: TorchWork) => Promise<Contender>;
  readonly close: () => Promise<void>;
}

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'torch_worker.py');

/** Starts `python3`, or the one that the variable PYTHON names; undefined if that has no PyTorch. */
export async function startTorch(): Promise<Torch | undefined> {
  const child = spawn(process.env.PYTHON ?? 'python3', [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => {
    child.on('error', () => resolve());
    child.on('exit', () => resolve());
  });
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<Record<string, unknown> | undefined> => {
    const { value, done } = await lines.next();
    return done === true ? undefined : JSON.parse(value);
  };
  const hello = await Promise.race([answer(), ended.then(() => undefined)]);
  if (hello?.version === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'eli-peers-'));
  const ask = async (request: unknown): Promise<Record<string, unknown>> => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const reply = await answer();
    if (reply === undefined) throw new Error('the PyTorch process ended; see its message above');
    if (reply.error !== undefined) throw new Error(`PyTorch: ${reply.error}`);
    return reply;
  };
  let count = 0;
  const contender = async ({ library, inputs, options = {}, ...work }: TorchWork): Promise<Contender> => {
    const id = `${count++}`;
    const path = join(folder, id);
    const arrays = Object.values(inputs).map(({ data }) =>
      Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    );
    await writeFile(path, Buffer.concat(arrays));
    const shapes = Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape]));
    await ask({ do: 'prepare', id, path, shapes, options, ...work });
    return {
      library,
      run: async (times) => {
        await ask({ do: 'run', id, times });
      },
      result: async () => {
        const { sizes } = await ask({ do: 'result', id, path });
        const bytes = await readFile(path);
        let at = bytes.byteOffset;
        return (sizes as number[]).map((size) => {
          const part = new Float64Array(bytes.buffer.slice(at, at + 8 * size));
          at += 8 * size;
          return part;
        });
      },
    };
  };
  return {
    version: String(hello.version),
    cuda: hello.cuda as string | null,
    compile: hello.compile === true,
    contender,
    close: async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
