import type { Tensor } from '../../tensor/tensor.ts';
import { Gate, type GateBatch, type GateData, type GateState, need } from '../gates/gate.ts';

/**
 * Caches the scores of a gate that looks at the samples alone, by their tensor: they do not depend on the latent map, so
 * they are computed once.
 */
export class CachedGate extends Gate {
  readonly name: string;
  readonly #gate: Gate;
  #scores = new WeakMap<Tensor, Float32Array>();

  constructor(gate: Gate) {
    super();
    this.name = gate.name;
    this.#gate = gate;
  }

  override fit(data: GateData): Promise<void> {
    this.#scores = new WeakMap();
    return this.#gate.fit(data);
  }

  override async score(batch: GateBatch): Promise<Float32Array> {
    const inputs = need(this.name, batch, 'inputs');
    const scores = this.#scores.get(inputs) ?? (await this.#gate.score(batch));
    this.#scores.set(inputs, scores);
    return scores;
  }

  override state(): GateState {
    return this.#gate.state();
  }
}
