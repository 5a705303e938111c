// Axes as users count them.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { normalizeAxes, normalizeAxis } from '../src/tensor/shape.ts';
import { fails } from './support/data.ts';

test('negative axes count from the end', async () => {
  assert.equal(
    [0, 1, 2, -1, -2, -3].map((axis) => normalizeAxis('op', axis, [2, 3, 4])),
    [0, 1, 2, 2, 1, 0],
  );
  assert.equal(normalizeAxes('op', [-1, 0, 2], [2, 3, 4]), [0, 2]);
  await fails(() => normalizeAxis('op', -4, [2, 3, 4]), 'SHAPE', /axis -4 is out of range/);
});

test.run();
