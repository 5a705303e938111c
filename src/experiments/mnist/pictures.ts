import { join } from 'node:path';
import type { EnergyAligner } from '../../eli/aligner.ts';
import { contiguous, slice } from '../../ops/views.ts';
import { saveAnimation } from '../../report/animation.ts';
import { curveSpec } from '../../report/curve.ts';
import { histogramSpec } from '../../report/histogram.ts';
import { savePicture } from '../../report/picture.ts';
import type { Progress } from '../../report/progress.ts';
import { embedLatents, scatterSpec } from '../../report/scatter.ts';
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
export async function saveMnistPictures(
  folder: string,
  metrics: MnistMetrics,
  aligner: EnergyAligner,
  latents: PictureLatents,
  labels: ArrayLike<number>,
  progress: Progress,
): Promise<void> {
  const bar = progress('pictures', 4, 'pictures');
  try {
    await saveCurve(folder, [metrics]);
    bar.update(1);
    const [n, d] = latents.previous.shape as [number, number];
    const { embedded, panels } = await embed(latents, labels, n, d, metrics.seed);
    await savePicture(join(folder, 'latents'), scatterSpec(embedded, panels, subtitle(metrics)));
    bar.update(2);
    await saveEnergies(folder, metrics, aligner, latents);
    bar.update(3);
    await animate(folder, metrics, aligner, latents, n, d);
    bar.update(4);
  } finally {
    bar.done();
  }
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

async function embed(latents: PictureLatents, labels: ArrayLike<number>, n: number, d: number, seed: number) {
  const [afterTask1, unaligned, aligned] = await Promise.all(
    [latents.previous, latents.current, latents.aligned].map((t) => t.readFloats()),
  );
  const sets = { n, d, labels, afterTask1: afterTask1!, unaligned: unaligned!, aligned: aligned! };
  const { labels: embedded, panels } = await embedLatents(sets, { seed });
  return { embedded, panels };
}

async function saveEnergies(
  folder: string,
  metrics: MnistMetrics,
  aligner: EnergyAligner,
  latents: PictureLatents,
): Promise<void> {
  const energies = [latents.previous, latents.current, latents.aligned].map((t) => aligner.energy(t));
  const [previous, current, aligned] = await Promise.all(energies.map((e) => e.readFloats()));
  for (const e of energies) e.dispose();
  const spec = histogramSpec(
    { previous: previous!, current: current!, aligned: aligned! },
    { subtitle: subtitle(metrics) },
  );
  await savePicture(join(folder, 'energies'), spec);
}

async function animate(
  folder: string,
  metrics: MnistMetrics,
  aligner: EnergyAligner,
  latents: PictureLatents,
  all: number,
  d: number,
): Promise<void> {
  const n = Math.min(ANIMATED, all);
  const { engine } = aligner;
  const start = engine.tidy(() => contiguous(slice(latents.current, 0, 0, n)));
  const chain = engine.tidy(() => aligner.alignWithTrajectory(start));
  const points = await chain.trajectory.readFloats();
  const previous = (await latents.previous.readFloats()).subarray(0, n * d);
  for (const t of [start, chain.latents, chain.trajectory]) t.dispose();
  const target = new Float32Array(d);
  previous.forEach((value, i) => {
    target[i % d] += value / n;
  });
  const trajectory = Array.from({ length: points.length / (n * d) }, (_, t) =>
    points.subarray(t * n * d, (t + 1) * n * d),
  );
  const samples = `${n} test images of digits 0–4 (seed ${metrics.seed}),`;
  await saveAnimation(join(folder, 'alignment'), { trajectory, n, d, target }, samples);
}
