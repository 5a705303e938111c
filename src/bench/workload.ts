import type { Engine } from '../gpu/engine.ts';

/** A row of `eli bench`. */
export interface Workload {
  /** `group: what`, such as `matmul: 512³`. */
  readonly name: string;
  /** What the rate counts, such as `steps` per second. Default `runs`. */
  readonly unit?: string;
  /** Workloads with the same word here are timed in turn and compared with the first of them. */
  readonly together?: string;
  /** Whether its operations and bytes are known, so that it has a place in a roofline. */
  readonly rated?: boolean;
  readonly prepare: (engine: Engine) => Prepared | Promise<Prepared>;
}

/** A workload whose data are on the device. */
export interface Prepared {
  /** Submits the work `times` times; waits for it only if it returns a promise. */
  readonly run: (times: number) => void | Promise<void>;
  /** Checks the results before the workload is timed. @throws EliError when they are wrong */
  readonly check?: () => Promise<void>;
  /** What depends on the order in which invocations run, if something does. */
  readonly race?: () => Promise<string | undefined>;
  /** Runs per sample; found by trying if absent. */
  readonly times?: number;
  /** Floating-point operations and bytes moved per run, where known. */
  readonly flops?: number;
  readonly bytes?: number;
  readonly dispose: () => void;
}

/** A function of ops, captured once and replayed; at the end, everything it `uses` is disposed of. */
export function captured(
  engine: Engine,
  fn: () => unknown,
  uses: readonly { dispose(): void }[] = [],
): Prepared {
  const program = engine.capture(() => void fn());
  return {
    run: (times) => program.run(times),
    dispose: () => {
      for (const item of [program, ...uses]) item.dispose();
    },
  };
}
