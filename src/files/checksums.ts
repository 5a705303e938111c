import { createHash } from 'node:crypto';
import type { EliError } from '../errors.ts';
import { jsonRecord } from './json.ts';

/** Keys we add to a safetensors file's metadata: digests of its tensors by name (JSON), and of its header. */
export const TENSOR_DIGESTS = 'eli_tensor_sha256';
export const HEADER_DIGEST = 'eli_header_sha256';

/** Hexadecimal digits kept of a SHA-256: 128 bits are plenty against damage. */
const DIGITS = 32;

/** Placeholder in the header while it is hashed. */
export const NO_DIGEST = '0'.repeat(DIGITS);

/** Digest of bytes. */
export function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, DIGITS);
}

/** The header with `NO_DIGEST` replaced by the digest of its bytes. */
export function sealHeader(header: string): string {
  const entry = (value: string): string => `"${HEADER_DIGEST}":"${value}"`;
  return header.replace(entry(NO_DIGEST), entry(digest(new TextEncoder().encode(header))));
}

/**
 * Removes our keys from the metadata and returns the digests of the tensors by name, `undefined` for a file without
 * checksums.
 * @param wrong makes the error for damaged checksums.
 */
export function takeDigests(
  header: string,
  metadata: Record<string, string>,
  wrong: (what: string) => EliError,
): Readonly<Record<string, unknown>> | undefined {
  const { [TENSOR_DIGESTS]: tensors, [HEADER_DIGEST]: own } = metadata;
  delete metadata[TENSOR_DIGESTS];
  delete metadata[HEADER_DIGEST];
  // If the name of one key is damaged, the other is still there.
  if (tensors === undefined && own === undefined) return undefined;
  const open = header.replace(`"${HEADER_DIGEST}":"${own}"`, `"${HEADER_DIGEST}":"${NO_DIGEST}"`);
  if (tensors === undefined || own === undefined || sealHeader(open) !== header)
    throw wrong('the checksum of its header does not match');
  const digests = jsonRecord(tensors);
  if (digests === undefined) throw wrong('its checksums are not a JSON object');
  return digests;
}
