import { leafBytes } from '../model/digest.ts';
import { hashOf } from './hash.ts';

/** As `leavesOf`: one hex digest per leaf of `bytes`, which begin at a leaf boundary of the body. */
export async function leavesIn(bytes: Uint8Array): Promise<string[]> {
  const leaves: (string | Promise<string>)[] = [];
  for (let from = 0; from < bytes.length; from += leafBytes)
    leaves.push(hashOf('sha256', bytes.subarray(from, from + leafBytes)));
  return Promise.all(leaves);
}
