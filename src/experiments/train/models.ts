import { Conv2d, MaxPool2d } from '../../nn/conv.ts';
import type { Initializer } from '../../nn/init.ts';
import { Linear } from '../../nn/layers.ts';
import { type Features, Network } from '../../nn/network.ts';
import { RESNETS, ResNet } from '../../nn/resnet.ts';
import { relu } from '../../ops/unary.ts';
import { reshape } from '../../ops/views.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Size of the images that a network takes. */
export type ImageSize = readonly [channels: number, height: number, width: number];

/** Two convolutions with pooling and two linear layers, for small grey or colour images. */
export class SmallCnn extends Network {
  readonly conv1: Conv2d;
  readonly conv2: Conv2d;
  readonly fc1: Linear;
  fc2: Linear;
  readonly #pool = new MaxPool2d(2);

  constructor(init: Initializer, [channels, height, width]: ImageSize, classes: number) {
    super();
    this.conv1 = new Conv2d(init, channels, 16, 3, { padding: 1 });
    this.conv2 = new Conv2d(init, 16, 32, 3, { padding: 1 });
    const pixels = Math.floor(height / 4) * Math.floor(width / 4);
    this.fc1 = new Linear(init, 32 * pixels, 128);
    this.fc2 = new Linear(init, 128, classes);
  }

  override features(x: Tensor): Features {
    // Pooling before ReLU gives the same values, and ReLU then has a quarter of them.
    const first = relu(this.#pool.forward(this.conv1.forward(x)));
    const second = relu(this.#pool.forward(this.conv2.forward(first)));
    const pooled = relu(this.fc1.forward(reshape(second, [x.shape[0]!, -1])));
    return { pooled, stages: { conv1: first, conv2: second } };
  }

  override classify(pooled: Tensor): Tensor {
    return this.fc2.forward(pooled);
  }
}

type MakeModel = (init: Initializer, image: ImageSize, classes: number) => Network;

function resnet(name: (typeof RESNETS)[number]): MakeModel {
  return (init, [channels], classes) => new ResNet(init, name, { channels, classes });
}

/** Networks of `eli train` by name. */
export const MODELS: Readonly<Record<string, MakeModel>> = {
  cnn: (init, image, classes) => new SmallCnn(init, image, classes),
  ...Object.fromEntries(RESNETS.map((name) => [name, resnet(name)])),
};
