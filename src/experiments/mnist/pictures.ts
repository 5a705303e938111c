import { join } from 'node:path';
import type { EnergyAligner } from '../../eli/aligner.ts';
import { contiguous, slice } from '../../ops/views.ts';
import { saveAnimation } from '../../report/animation.ts';
import { curveSpec } from '../../report/curve.ts';
import { histogramSpec } from '../../report/histogram.ts';
import { savePicture } from '../../report/picture.ts';
import { type Progress, withBar } from '../../report/progress.ts';
import { embedLatents, scatterSpec } from '../../report/scatter.ts';
import { withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { MnistMetrics } from './metrics.ts';

/** Test images whose mean the animation follows. */
const ANIMATED = 512;

/** Latents of the task-1 test images, [n, d] each. */
export interface PictureLatents {
  readonly previous: Tensor;
  readonly current: Tensor;
  readonly aligned: Tensor;
}

/** Draws a run's four pictures into its folder: curve, t-SNE, energies, and the alignment step by step. */
export function saveMnistPictures(
  folder: string,
  metrics: MnistMetrics,
  aligner: EnergyAligner,
  latents: PictureLatents,
  labels: ArrayLike<number>,
  progress: Progress,
): Promise<void> {
  const { seed, latent: d } = metrics;
  return withBar(progress('pictures', 4, 'pictures'), async (bar) => {
    await saveCurve(folder, [metrics]);
    bar.update(1);
    const { previous, current: unaligned, aligned } = await readAll(latents);
    const sets = { n: labels.length, d, labels, afterTask1: previous, unaligned, aligned };
    const { labels: embedded, panels } = await embedLatents(sets, { seed });
    await savePicture(join(folder, 'latents'), scatterSpec(embedded, panels, subtitle(metrics)));
    bar.update(2);
    const energies = await withScope(aligner.engine, (scope) => {
      const energyOf = (of: Tensor): Tensor => scope.add(aligner.energy(of));
      const { previous, current, aligned } = latents;
      return readAll({
        previous: energyOf(previous),
        current: energyOf(current),
        aligned: energyOf(aligned),
      });
    });
    await savePicture(join(folder, 'energies'), histogramSpec(energies, { subtitle: subtitle(metrics) }));
    bar.update(3);
    await animate(folder, metrics, aligner, latents.current, previous);
    bar.update(4);
  });
}

async function readAll({ previous, current, aligned }: PictureLatents) {
  const [a, b, c] = await Promise.all([previous.readFloats(), current.readFloats(), aligned.readFloats()]);
  return { previous: a, current: b, aligned: c };
}

/** Draws the accuracy curve of one or several seeds. */
export async function saveCurve(folder: string, runs: readonly MnistMetrics[]): Promise<void> {
  const curves = runs.map(({ seed, curve, task1, unalignedSavedHead }) => ({
    seed,
    points: curve,
    afterTask1: task1,
    unaligned: unalignedSavedHead,
  }));
  const first = runs[0]!;
  const text =
    runs.length === 1 ? subtitle(first) : `MNIST, latents of ${first.latent}, ${runs.length} seeds`;
  await savePicture(join(folder, 'curve'), curveSpec(curves, text));
}

function subtitle(metrics: MnistMetrics): string {
  return `MNIST digits 0–4, latents of ${metrics.latent}, seed ${metrics.seed}`;
}

/** Draws how the first of the current latents are aligned, towards the mean of their previous latents (all [n, d]). */
async function animate(
  folder: string,
  { seed, latent: d }: MnistMetrics,
  aligner: EnergyAligner,
  current: Tensor,
  previous: Float32Array,
): Promise<void> {
  const n = Math.min(ANIMATED, current.shape[0]!);
  const points = await withScope(aligner.engine, (scope) => {
    const start = scope.own(() => contiguous(slice(current, 0, 0, n)));
    const chain = aligner.engine.tidy(() => aligner.alignWithTrajectory(start));
    scope.add(chain.latents);
    return scope.add(chain.trajectory).readFloats();
  });
  const target = new Float32Array(d);
  previous.subarray(0, n * d).forEach((value, i) => {
    target[i % d] += value / n;
  });
  const trajectory = Array.from({ length: points.length / (n * d) }, (_, t) =>
    points.subarray(t * n * d, (t + 1) * n * d),
  );
  const samples = `${n} test images of digits 0–4 (seed ${seed}),`;
  await saveAnimation(join(folder, 'alignment'), { trajectory, n, d, target }, samples);
}
