// PyTorch on the CPU in a process of its own (torch_cpu.py), told by lines of JSON what to prepare and to run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Contender } from './compare.mts';

export interface TorchWork {
  /** Class of torch_cpu.py, and what it is made with. */
  readonly task: string;
  readonly options: Record<string, unknown>;
  /** Arrays by name. */
  readonly inputs: Readonly<
    Record<string, { readonly data: Float32Array; readonly shape: readonly number[] }>
  >;
}

export interface Torch {
  readonly version: string;
  /** Prepares a workload; `library` is told apart by `way` where PyTorch can do it in more than one. */
  readonly contender: (work: TorchWork, way?: string) => Promise<Contender>;
  readonly close: () => Promise<void>;
}

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'torch_cpu.py');

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
    return reply;
  };
  let count = 0;
  const contender = async ({ task, options, inputs }: TorchWork, way?: string): Promise<Contender> => {
    const id = `${count++}`;
    const path = join(folder, id);
    const arrays = Object.entries(inputs);
    await writeFile(
      path,
      Buffer.concat(arrays.map(([, { data }]) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))),
    );
    await ask({
      do: 'prepare',
      id,
      task,
      options,
      path,
      shapes: Object.fromEntries(arrays.map(([name, { shape }]) => [name, shape])),
    });
    return {
      library: `PyTorch CPU${way === undefined ? '' : `, ${way}`}`,
      run: async (times) => {
        await ask({ do: 'run', id, times });
      },
      result: async () => {
        const { sizes } = await ask({ do: 'result', id, path });
        const bytes = await readFile(path);
        let at = 0;
        return (sizes as number[]).map((size) => {
          const part = new Float32Array(
            bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 4 * size),
          );
          at += 4 * size;
          return part;
        });
      },
    };
  };
  return {
    version: String(hello.version),
    contender,
    close: async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
