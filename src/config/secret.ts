import { inspect } from 'node:util';

const mask = '[secret]';

/** Every form in which a loaded secret could turn up in a text, longest first once `redact` has sorted it. */
const known = new Set<string>();
let ordered: readonly string[] | undefined;

/** A value that shows itself to nobody but who calls `reveal`. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
    remember(value);
  }

  /** For the request that needs it; never for a message, a log or a report. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return mask;
  }

  toJSON(): string {
    return mask;
  }

  [inspect.custom](): string {
    return mask;
  }
}

/** `text` without any secret that was loaded in this process, and without what looks like one. */
export function redact(text: string): string {
  ordered ??= [...known].sort((a, b) => b.length - a.length);
  let clean = text;
  for (const value of ordered) clean = withoutValue(clean, value);
  return maskTelltales(clean);
}

/** Parts of URLs and connection strings that are secrets wherever they stand. */
export function maskTelltales(text: string): string {
  return text
    .replace(
      /\b(AccountKey|SharedAccessSignature|sig|X-Amz-Signature|X-Goog-Signature)=[^;&\s"',}]+/gi,
      `$1=${mask}`,
    )
    .replace(/(\w:\/\/[^\s/:@]+:)[^\s/@]+@/g, `$1${mask}@`);
}

/** A short value is removed only where it stands alone: "dev" must not eat the middle of "devices". */
const aloneBelowLength = 8;
/** Below this a value cannot be told from ordinary text, and is no secret worth the name. */
const shortestSecret = 4;

function withoutValue(text: string, value: string): string {
  if (!text.includes(value)) return text;
  if (value.length >= aloneBelowLength) return text.replaceAll(value, mask);
  return text.replace(new RegExp(`(?<!\\w)${literal(value)}(?!\\w)`, 'g'), mask);
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

function remember(value: string): void {
  for (const part of [value, ...partsOf(value)]) {
    for (const form of formsOf(part)) if (form.length >= shortestSecret) known.add(form);
  }
  ordered = undefined;
}

/** The secret parts of a connection string or a SAS, which may turn up without the rest. */
function partsOf(value: string): string[] {
  return [...value.matchAll(/(?:^|[;&?])(?:AccountKey|SharedAccessSignature|sig)=([^;&]+)/gi)].map(
    (match) => match[1]!,
  );
}

function formsOf(value: string): string[] {
  const forms = [value, JSON.stringify(value).slice(1, -1), Buffer.from(value).toString('base64')];
  try {
    forms.push(encodeURIComponent(value), decodeURIComponent(value));
  } catch {
    // Not well-formed, or a stray per cent sign: then there is no such form.
  }
  return forms;
}
