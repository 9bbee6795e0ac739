/**
 * Azure lists by UTF-16 units, the port by the bytes of UTF-8. The two differ at one place only: below a
 * common beginning, names that go on with a surrogate (astral characters, such as emoji) come before those
 * that go on with U+E000 to U+FFFF (full-width forms, say) at Azure, and after them in UTF-8. So names that
 * go on with a surrogate are held back until their siblings have passed.
 *
 * What comes in the order of UTF-8 already stays in it.
 */
export class ByteOrder<T extends { readonly key: string }> {
  /** Each beginning extends the one before it. */
  readonly #groups: Group<T>[] = [];
  /** Beginnings whose late siblings the caller has dealt with: nothing waits for them any more. */
  #settled: string[] = [];
  readonly #ready: T[] = [];
  #lastKey = '';

  push(entry: T): void {
    const { key } = entry;
    this.#leaveBehind(key);
    this.#lastKey = key;
    const top = this.#groups.at(-1);
    const inTop = top !== undefined && isMember(key, top.beginning);
    let to = top === undefined ? this.#ready : inTop ? top.held : top.into;
    const length = top?.beginning.length ?? 0;
    for (let at = inTop ? length + 1 : length; at < key.length; at++) {
      if (!isHighSurrogate(key.charCodeAt(at))) continue;
      const beginning = key.slice(0, at);
      if (this.#settled.includes(beginning)) continue;
      const group: Group<T> = { beginning, held: [], into: to };
      this.#groups.push(group);
      to = group.held;
    }
    to.push(entry);
  }

  /** What is in order by now. */
  take(): T[] {
    // In place: groups hold on to the array itself.
    return this.#ready.splice(0);
  }

  /** No more entries: all that waited is ready. */
  end(): void {
    while (this.#groups.length > 0) this.#close();
  }

  /** The group that still grows, when more than `max` entries wait in it for its late siblings. */
  overflow(max: number): { readonly beginning: string; readonly lastKey: string } | undefined {
    const at = this.#growing();
    if (at < 0) return undefined;
    const held = this.#groups.slice(at).reduce((sum, group) => sum + group.held.length, 0);
    const beginning = this.#groups[at]?.beginning ?? '';
    return held > max ? { beginning, lastKey: this.#lastKey } : undefined;
  }

  /** The caller has dealt with the late siblings that `overflow` named: what waited for them is ready. */
  settle(): void {
    const [group] = this.#groups.splice(this.#growing(), 1);
    if (group === undefined) return;
    for (const entry of group.held) group.into.push(entry);
    for (const inner of this.#groups) if (inner.into === group.held) inner.into = group.into;
    this.#settled.push(group.beginning);
  }

  /** Whether the caller has dealt with this key, as a late sibling, before it settled. */
  isSettled(key: string): boolean {
    return this.#settled.some((beginning) => isLateSibling(key, beginning));
  }

  /** The outermost group of which the last key is a member; those outside it only wait for their end. */
  #growing(): number {
    return this.#groups.findIndex((group) => isMember(this.#lastKey, group.beginning));
  }

  #leaveBehind(key: string): void {
    if (this.#settled.length > 0)
      this.#settled = this.#settled.filter((beginning) => key.startsWith(beginning));
    for (let top = this.#groups.at(-1); top && !key.startsWith(top.beginning); top = this.#groups.at(-1)) {
      this.#close();
    }
  }

  #close(): void {
    const group = this.#groups.pop();
    for (const entry of group?.held ?? []) group?.into.push(entry);
  }
}

interface Group<T> {
  readonly beginning: string;
  /** Entries whose key goes on with a surrogate after `beginning`, in order. */
  readonly held: T[];
  /** Where they go when all siblings have passed, and where the siblings go. */
  into: T[];
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function isMember(key: string, beginning: string): boolean {
  return isHighSurrogate(key.charCodeAt(beginning.length));
}

/** Goes on with U+E000 to U+FFFF: before the surrogates in UTF-8, after them in UTF-16. */
export function isLateSibling(key: string, beginning: string): boolean {
  return key.startsWith(beginning) && key.charCodeAt(beginning.length) >= 0xe000;
}

/**
 * A name at which a listing may begin without missing a key after `after`, whichever of the two orders the
 * server has: cut before the first unit from U+E000 on, for surrogates at its place come after it in UTF-8.
 */
export function startFor(after: string): string {
  const at = [...after].findIndex((character) => isLateSibling(character, ''));
  return at < 0 ? after : [...after].slice(0, at).join('');
}

/** Whether no key up to `until` (in UTF-8) can come after `key` (in either order). */
export function isPast(key: string, until: string): boolean {
  if (key <= until) return false;
  for (let at = 0; at < until.length; at++) {
    // Siblings of this surrogate come before it in UTF-8, and here after it.
    if (isHighSurrogate(until.charCodeAt(at))) return !key.startsWith(until.slice(0, at));
  }
  return true;
}
