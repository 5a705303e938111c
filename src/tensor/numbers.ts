import { EliError, nameOf, refusePromise } from '../errors.ts';
import { type Shape, showShape } from './shape.ts';

/** Numbers in nested arrays, all of the same length at each depth: `[[1, 2], [3, 4]]`. */
export type NestedNumbers = readonly number[] | readonly NestedNumbers[];

/** What a tensor is made of: a typed array or another list of numbers, nested arrays, or one number. */
export type TensorData = number | ArrayLike<number> | NestedNumbers;

/** What numbers are given: row-major, with the shape of their nesting. */
interface Numbers {
  readonly data: ArrayLike<number>;
  readonly shape: Shape;
}

/**
 * The numbers of `data` in row-major order.
 * @throws EliError `ARGUMENT` for what holds no numbers, `DTYPE` for 64-bit integers, `SHAPE` for rows of different lengths
 */
export function numbersOf(what: string, data: unknown): Numbers {
  refusePromise(`${what}: the data`, data);
  if (typeof data === 'number') return { data: [data], shape: [] };
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    throw new EliError(
      'DTYPE',
      `${what}: the data is a ${data.constructor.name}, whose numbers have 64 bits`,
      {
        hint: 'tensors hold 32-bit numbers: Int32Array.from(data, Number)',
      },
    );
  }
  if (ArrayBuffer.isView(data) && !(data instanceof DataView)) {
    const numbers = data as unknown as ArrayLike<number>;
    return { data: numbers, shape: [numbers.length] };
  }
  const length = (data as Partial<ArrayLike<unknown>> | null | undefined)?.length;
  if (typeof data !== 'object' || length === undefined || !Number.isInteger(length)) {
    throw new EliError('ARGUMENT', `${what}: the data is ${nameOf(data)}`, {
      hint: 'give a typed array, an array of numbers, or nested arrays of them',
    });
  }
  return nested(what, data as ArrayLike<unknown>);
}

function nested(what: string, data: ArrayLike<unknown>): Numbers {
  const shape = [data.length];
  for (let part = data[0]; isList(part); part = part[0]) shape.push(part.length);
  const flat: number[] = [];
  const visit = (part: unknown, at: readonly number[]): void => {
    const depth = at.length;
    const place = (): string => `data[${at.join('][')}]`;
    if (isList(part) ? part.length !== shape[depth] : depth < shape.length) {
      const got = isList(part) ? `${part.length} elements` : nameOf(part);
      throw new EliError('SHAPE', `${what}: ${place()} is ${got} in data of shape ${showShape(shape)}`, {
        hint: 'nested arrays need the same length at each depth',
      });
    }
    if (isList(part)) {
      for (let i = 0; i < part.length; i++) visit(part[i], [...at, i]);
    } else if (typeof part === 'number') flat.push(part);
    else throw new EliError('ARGUMENT', `${what}: ${place()} is ${nameOf(part)}, must be a number`);
  };
  const plain = shape.length === 1;
  for (let i = 0; i < data.length; i++) if (!plain || typeof data[i] !== 'number') visit(data[i], [i]);
  return { data: plain ? (data as ArrayLike<number>) : flat, shape };
}

/** Arrays of numbers or of arrays; BigInt arrays are not among them. */
function isList(value: unknown): value is ArrayLike<unknown> {
  if (Array.isArray(value)) return true;
  return ArrayBuffer.isView(value) && typeof (value as unknown as ArrayLike<unknown>)[0] === 'number';
}
