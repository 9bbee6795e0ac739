import { compareKeys } from '../model/key.ts';

/**
 * The order of the writes of a key. A put takes the next counter; a read-modify-write takes the next step of the very
 * write it read, so that nothing can ever be ordered between the two (carstamps: Burke, Cheng and Lloyd, NSDI 2020).
 */
export interface Tag {
  readonly counter: number;
  /** Who made the put, and which of his operations it was: no two puts share them, not even after an abort. */
  readonly writer: string;
  readonly operation: string;
  /** How many read-modify-writes stand on that put; 0: the put itself. */
  readonly step: number;
  /** The operation that made this step; it takes no part in the order, for only one is ever chosen. */
  readonly by: string;
}

/** What a key has that nobody ever wrote. */
export const zeroTag: Tag = { counter: 0, writer: '', operation: '', step: 0, by: '' };

export function compareTags(a: Tag, b: Tag): number {
  return (
    a.counter - b.counter ||
    compareKeys(a.writer, b.writer) ||
    compareKeys(a.operation, b.operation) ||
    a.step - b.step
  );
}

export function sameTag(a: Tag, b: Tag): boolean {
  return compareTags(a, b) === 0 && a.by === b.by;
}

export function putTag(counter: number, writer: string, operation: string): Tag {
  return { counter, writer, operation, step: 0, by: operation };
}

/** What the read-modify-write `by` of what `base` put there has, if it is the one that is chosen. */
export function nextStep(base: Tag, by: string): Tag {
  return { ...base, step: base.step + 1, by };
}

/** Whether `tag` is that of the one read-modify-write that was chosen on top of `base`. */
export function stepsOn(tag: Tag, base: Tag): boolean {
  return compareTags({ ...tag, step: tag.step - 1 }, base) === 0;
}

/** `counter.writer.operation`, and of a read-modify-write `counter.writer.operation.step.by`. */
export function encodeTag({ counter, writer, operation, step, by }: Tag): string {
  const put = `${counter}.${writer}.${operation}`;
  return step === 0 ? put : `${put}.${step}.${by}`;
}

/** Undefined for anything that `encodeTag` did not write. */
export function parseTag(text: string): Tag | undefined {
  const match = /^(\d{1,15})\.([\w-]*)\.([\w-]*)(?:\.(\d{1,15})\.([\w-]+))?$/.exec(text);
  if (!match) return undefined;
  const [, counter, writer, operation, step, by] = match as unknown as string[];
  const put = putTag(Number(counter), writer!, operation!);
  return step === undefined ? put : { ...put, step: Number(step), by: by! };
}

/** Of one attempt to decide a step; totally ordered, and never used by two attempts. */
export interface Ballot {
  readonly round: number;
  readonly by: string;
}

export function compareBallots(a: Ballot | undefined, b: Ballot | undefined): number {
  if (!a || !b) return Number(a !== undefined) - Number(b !== undefined);
  return a.round - b.round || compareKeys(a.by, b.by);
}
