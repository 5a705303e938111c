import { detach } from '../autograd/tape.ts';
import { add } from '../ops/binary.ts';
import { affine, clamp, log } from '../ops/unary.ts';
import { contiguous, copyInto, slice } from '../ops/views.ts';
import { empty, zeros } from '../tensor/create.ts';
import { randomNormal, randomUniform } from '../tensor/random.ts';
import { denseStrides } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { chainDraw } from './chain-random.ts';
import type { Chains, Trajectory } from './chains.ts';
import { type Energy, evaluate } from './energy.ts';
import type { Plan } from './plan.ts';
import type { ChainState, StepContext } from './sampler.ts';

/** Chains that are moved step by step with ops. They own their tensors, whatever `tidy` they are moved in. */
export class Stepwise {
  readonly #energy: Energy;
  readonly #plan: Plan;
  readonly #plain: boolean;
  readonly #kept: Kept | undefined;
  #state: ChainState;
  /** Steps accepted after `burnIn`, [n]. */
  #taken: Tensor | undefined;
  #done = 0;

  /** @param plain whether energies are computed by ops even where the energy has kernels */
  constructor(energy: Energy, start: Tensor, plan: Plan, plain: boolean) {
    const { steps, transition, keepStart } = plan;
    const { engine } = start;
    this.#energy = energy;
    this.#plan = plan;
    this.#plain = plain;
    this.#kept = plan.trajectory ? new Kept(start, plan) : undefined;
    const box = transition.metropolis ? this.#box(0) : undefined;
    this.#state = { points: box ? clamp(start, ...box) : contiguous(start) };
    if (keepStart && this.#kept !== undefined) {
      this.#state = this.#fill(this.#state);
      this.#kept.add(this.#state as Required<ChainState>);
    }
    if (transition.metropolis && steps > 0) this.#taken = zeros(engine, [start.shape[0]!]);
    this.#keep();
  }

  /** Steps done so far. */
  get done(): number {
    return this.#done;
  }

  /** Records the next `count` steps. */
  advance(count: number): void {
    const { burnIn, thin, transition } = this.#plan;
    const { engine } = this.#state.points;
    const kept = this.#kept;
    for (const end = this.#done + count; this.#done < end; this.#done++) {
      const t = this.#done;
      const before = this.#state;
      const counts = t >= burnIn;
      const { state: after, accepted } = engine.tidy(() => {
        const step = transition.step(before, this.#context(t));
        if (kept === undefined || !counts || (t + 1 - burnIn) % thin !== 0) return step;
        const full = this.#fill(step.state);
        kept.add(full);
        return { ...step, state: full };
      });
      this.#state = after;
      if (this.#taken !== undefined && accepted !== undefined && counts) {
        const sum = add(this.#taken, accepted);
        this.#taken.dispose();
        this.#taken = sum;
      }
      accepted?.dispose();
      for (const tensor of Object.values(before)) (tensor as Tensor).dispose();
    }
    this.#keep();
  }

  /** What the chains have computed so far, as tensors of the caller. */
  finish(): Chains {
    const { burnIn } = this.#plan;
    const { points } = this.#state;
    const counted = Math.max(1, this.#done - burnIn);
    return {
      // Without a step these are the caller's own elements.
      latents: this.#done === 0 ? affine(points, 1, 0) : detach(points),
      ...(this.#taken && { acceptance: affine(this.#taken, 1 / counted, 0) }),
      ...(this.#kept && this.#kept.count > 0 && { trajectory: this.#kept.trajectory() }),
    };
  }

  /** Frees the chains; what `finish` returned stays. */
  dispose(): void {
    for (const tensor of this.#live()) tensor.dispose();
  }

  #live(): Tensor[] {
    return [...Object.values(this.#state as object), this.#taken, ...(this.#kept?.tensors ?? [])].filter(
      (tensor) => tensor !== undefined,
    ) as Tensor[];
  }

  /** Takes what must outlive the current `tidy` out of it. */
  #keep(): void {
    for (const tensor of this.#live()) tensor.engine.keep(tensor);
  }

  #fill(state: ChainState): Required<ChainState> {
    if (state.energy !== undefined && state.gradient !== undefined) return state as Required<ChainState>;
    const what = `sample: ${this.#plan.name}`;
    return { points: state.points, ...evaluate(what, this.#energy, state.points, this.#plain) };
  }

  #box(t: number): readonly [number, number] | undefined {
    const { limits } = this.#plan;
    return limits && [limits[0][t]!, limits[1][t]!];
  }

  #context(t: number): StepContext {
    const { points } = this.#state;
    const { engine } = points;
    const random = this.#plan.random!;
    const role = this.#plan.transition.langevin === undefined ? 'proposal' : 'noise';
    const box = this.#box(t);
    return {
      t,
      ...(box && { box }),
      evaluate: (state) => this.#fill(state),
      normal: (shape, deviation = 1) => randomNormal(engine, shape, chainDraw(random, t, role), 0, deviation),
      logUniform: () => log(randomUniform(engine, [points.shape[0]!], chainDraw(random, t, 'accept'), 1, 0)),
    };
  }
}

/** Fills a trajectory. */
class Kept {
  readonly tensors: readonly [points: Tensor, energies: Tensor];
  #count = 0;

  constructor({ engine, shape }: Tensor, { steps, burnIn, thin, keepStart }: Plan) {
    const [n, d] = shape as [number, number];
    const k = Math.floor((steps - burnIn) / thin) + (keepStart ? 1 : 0);
    this.tensors = [empty(engine, [k, n, d]), empty(engine, [k, n])];
  }

  /** Points so far. */
  get count(): number {
    return this.#count;
  }

  add({ points, energy }: Required<ChainState>): void {
    const at = this.#count++;
    const [allPoints, allEnergies] = this.tensors;
    copyInto(points, allPoints, denseStrides(points.shape), at * points.size);
    copyInto(energy, allEnergies, [1], at * energy.size);
  }

  trajectory(): Trajectory {
    const [points, energies] = this.tensors.map((all) => slice(all, 0, 0, this.#count)) as [Tensor, Tensor];
    return { points, energies };
  }
}
