import type { Engine } from '../gpu/engine.ts';

/** Something that `eli bench` times. */
export interface Workload {
  /** `group: what`, such as `matmul: 512³`. */
  readonly name: string;
  /** What is counted a second. Default `runs`. */
  readonly unit?: string;
  /** Workloads with the same word here are timed together, sample by sample, and compared with the first of them. */
  readonly together?: string;
  readonly prepare: (engine: Engine) => Prepared | Promise<Prepared>;
}

/** A workload on the device. */
export interface Prepared {
  /** Does it `times` times; the work is submitted, not awaited unless a promise comes back. */
  readonly run: (times: number) => void | Promise<void>;
  /** Looks whether what it computes is right, before it is timed. @throws EliError when it is not. */
  readonly check?: () => Promise<void>;
  /** How often it is best done before the device is waited for; else that is found by trying. */
  readonly times?: number;
  /** Floating-point operations and bytes moved of doing it once, where they are known. */
  readonly flops?: number;
  readonly bytes?: number;
  readonly dispose: () => void;
}

/** A function of ops as a workload: captured once, then replayed; at the end, what it `uses` is disposed of. */
export function captured(
  engine: Engine,
  fn: () => unknown,
  uses: readonly { dispose(): void }[] = [],
): Prepared {
  const program = engine.capture(() => {
    fn();
  });
  return {
    run: (times) => program.run(times),
    dispose: () => {
      for (const item of [program, ...uses]) item.dispose();
    },
  };
}
