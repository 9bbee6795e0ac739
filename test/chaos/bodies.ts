/** The keys of a convergence run, and bodies that tell which write made them. */

const keys = 200;
const hotKeys = 20;
export const keyPrefix = 'k/';

export const allKeys: readonly string[] = Array.from({ length: keys }, (_, number) => keyOf(number));

/** A quarter of the writes, and more, goes to a tenth of the keys: those are often written at two sites at once. */
export function keyFor(): string {
  return keyOf(Math.floor(Math.random() * (Math.random() < 0.25 ? hotKeys : keys)));
}

function keyOf(number: number): string {
  return `${keyPrefix}${String(number).padStart(3, '0')}`;
}

export function bodyOf(id: string, sizeBytes: number): Buffer {
  return Buffer.from(`body:${id};`.padEnd(sizeBytes, '.'));
}

export function idIn(body: Uint8Array): string | undefined {
  return /body:([a-z0-9-]+);/.exec(Buffer.from(body).toString('latin1'))?.[1];
}
