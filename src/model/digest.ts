import { createHash } from 'node:crypto';

/**
 * The digest of a body can be computed from parts that arrive in any order, and resumed:
 * up to one leaf it is the plain hex SHA-256 of the body (what `sha256sum` prints); above,
 * `t8m-` and the hex SHA-256 of the leaves' binary SHA-256 digests, in order.
 */
export const leafBytes = 8 * 1024 * 1024;

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** One hex digest per leaf of `bytes`, which begin at a leaf boundary of the body. */
export function leavesOf(bytes: Uint8Array): string[] {
  const leaves: string[] = [];
  for (let from = 0; from < bytes.length; from += leafBytes) {
    leaves.push(sha256Hex(bytes.subarray(from, from + leafBytes)));
  }
  return leaves;
}

/** The digest of a whole body from all its leaves. */
export function digestOfLeaves(leaves: readonly string[]): string {
  if (leaves.length === 0) return sha256Hex(new Uint8Array());
  if (leaves.length === 1) return leaves[0]!;
  const root = createHash('sha256');
  for (const leaf of leaves) root.update(Buffer.from(leaf, 'hex'));
  return `t8m-${root.digest('hex')}`;
}

/** Digest of a body that arrives in order, in pieces of any size. */
export class BodyDigest {
  #leaf = createHash('sha256');
  #inLeaf = 0;
  readonly #leaves: string[] = [];

  update(piece: Uint8Array): void {
    let rest = piece;
    while (rest.length > 0) {
      const taken = rest.subarray(0, leafBytes - this.#inLeaf);
      this.#leaf.update(taken);
      this.#inLeaf += taken.length;
      if (this.#inLeaf === leafBytes) this.#closeLeaf();
      rest = rest.subarray(taken.length);
    }
  }

  finish(): string {
    if (this.#inLeaf > 0) this.#closeLeaf();
    return digestOfLeaves(this.#leaves);
  }

  #closeLeaf(): void {
    this.#leaves.push(this.#leaf.digest('hex'));
    this.#leaf = createHash('sha256');
    this.#inLeaf = 0;
  }
}
