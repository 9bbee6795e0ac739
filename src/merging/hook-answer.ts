import { entryName } from '../model/entry.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { HookRequest } from './hook.ts';
import { limits } from './rule.ts';

/** What a hook may answer. */
export type HookOutcome =
  /** One of the two writes, as it is; `id` as in the request. */
  | { readonly kind: 'pick'; readonly id: string }
  /** A body of its own; without metadata, that of the greater version. */
  | { readonly kind: 'write'; readonly body: Uint8Array; readonly metadata?: ObjectMetadata }
  | { readonly kind: 'keep-both' }
  | { readonly kind: 'park'; readonly because: string };

/** An answer that cannot be believed, or a refusal: asking again does not help. `message` says what was wrong. */
export class HookRefused extends Error {
  override readonly name = 'HookRefused';
}

type Fields = Readonly<Record<string, unknown>>;

/** Throws `HookRefused`. */
export function outcomeOf(answer: Uint8Array, request: HookRequest): HookOutcome {
  const fields = objectOf(parse(answer), 'the answer');
  const { outcome } = fields;
  switch (outcome) {
    case 'pick':
      only(fields, ['version']);
      return { kind: 'pick', id: idOf(fields.version, request) };
    case 'write': {
      only(fields, ['body', 'metadata']);
      const body = bodyOf(fields.body);
      return fields.metadata === undefined
        ? { kind: 'write', body }
        : { kind: 'write', body, metadata: metadataOf(fields.metadata) };
    }
    case 'keep-both':
      only(fields, []);
      return { kind: 'keep-both' };
    case 'park':
      only(fields, ['because']);
      return { kind: 'park', because: shown(fields.because ?? 'it gave no reason') };
    default:
      throw new HookRefused(`"outcome" is ${shown(outcome)}, not "pick", "write", "keep-both" or "park"`);
  }
}

function parse(answer: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(answer));
  } catch (error) {
    const start = shown(Buffer.from(answer.subarray(0, 60)).toString('latin1'));
    throw new HookRefused(`the answer is not JSON, it begins with ${start}`, { cause: error });
  }
}

function objectOf(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HookRefused(`${what} is ${shown(value)}, not an object`);
  }
  return value as Fields;
}

function only(fields: Fields, names: readonly string[], what = 'the answer'): void {
  const other = Object.keys(fields).find((name) => name !== 'outcome' && !names.includes(name));
  if (other !== undefined) throw new HookRefused(`${what} has an unknown field, ${shown(other)}`);
}

function idOf(version: unknown, { sides }: HookRequest): string {
  const ids = sides.map((side) => side.version.operation);
  if (typeof version === 'string' && ids.includes(version)) return version;
  throw new HookRefused(`"version" is ${shown(version)}, which is none of the two: ${ids.join(', ')}`);
}

function bodyOf(body: unknown): Uint8Array {
  if (typeof body !== 'string') throw new HookRefused(`"body" is ${shown(body)}, not base64`);
  const bytes = Buffer.from(body, 'base64');
  if (bytes.toString('base64') !== body) throw new HookRefused('"body" is not base64 (RFC 4648, padded)');
  if (bytes.length > limits.bodyBytes) {
    throw new HookRefused(`"body" is ${bytes.length} bytes long; the limit is ${limits.bodyBytes}`);
  }
  return bytes;
}

const plainFields = [
  'contentType',
  'cacheControl',
  'contentEncoding',
  'contentDisposition',
  'contentLanguage',
];

function metadataOf(value: unknown): ObjectMetadata {
  const fields = objectOf(value, '"metadata"');
  only(fields, [...plainFields, 'user', 'tags'], '"metadata"');
  const plain = plainFields.flatMap((name) =>
    fields[name] === undefined ? [] : [[name, textOf(fields[name], name)] as const],
  );
  const user = entriesOf(fields.user, 'user');
  for (const name of Object.keys(user)) {
    if (!/^[a-z0-9._-]+$/.test(name) || name === entryName) {
      throw new HookRefused(`"metadata.user" has a name that cannot be one: ${shown(name)}`);
    }
  }
  return { ...Object.fromEntries(plain), user, tags: entriesOf(fields.tags, 'tags') };
}

function entriesOf(value: unknown, what: string): Record<string, string> {
  const entries = Object.entries(objectOf(value ?? {}, `"metadata.${what}"`));
  return Object.fromEntries(entries.map(([name, one]) => [name, textOf(one, `${what}.${name}`)]));
}

function textOf(value: unknown, what: string): string {
  const isText = typeof value === 'string' && value.isWellFormed() && !/\p{Cc}/u.test(value);
  if (!isText)
    throw new HookRefused(`"metadata.${what}" is ${shown(value)}, not text without control characters`);
  return value;
}

/** For a message: short, and on one line. */
function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'absent').slice(0, 80);
}
