/**
 * A write was sent and no majority confirmed it: it may have taken effect, may still, or never will. It is not tried
 * again by itself: a second try would be a second write, and the first might land after it.
 */
export class OutcomeUnknown extends Error {
  override readonly name = 'OutcomeUnknown';
  readonly key: string;
  /** Who reads this tag reads this write. Of a conditional write the last that was tried. */
  readonly tag: string;

  constructor(key: string, tag: string, cause: unknown) {
    super(
      `The outcome of the write of "${key}" is unknown: it was sent, and no majority of the sites confirmed it. ` +
        `It may have taken effect, or still may. Read the key (this write has the tag ${tag}) before writing it again.`,
      { cause },
    );
    this.key = key;
    this.tag = tag;
  }
}
