import * as z from 'zod/mini';
import { isReserved, reservedPrefix } from '../model/key.ts';
import { Secret } from './secret.ts';

/** Values that several parts of the schema share. */

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof unitMs;

export const namePattern = /^[a-z][a-z0-9-]{0,31}$/;

export const name = z.string().check(
  z.regex(namePattern, 'a name begins with a lower-case letter and has up to 32 of a-z, 0-9 and -'),
  // The one name of this form that every object has already.
  z.refine((text) => text !== 'constructor', 'this one name is taken; choose another'),
);

export const text = z.string().check(z.minLength(1, 'must not be empty'));

export const secret = z.pipe(
  text,
  z.transform((value: string) => new Secret(value)),
);

/** The same schema, and what the reference says about it; each schema can tell of one field only. */
export function described<T extends z.ZodMiniType>(schema: T, description: string, title?: string): T {
  z.globalRegistry.add(schema, title === undefined ? { description } : { title, description });
  return schema;
}

const durationRule = 'must be a duration, a whole number and a unit: 500ms, 30s, 5m, 2h or 1d';

/** Milliseconds, from `500ms`, `30s`, `5m`, `2h` or `1d`. */
export const duration = z.pipe(
  z.string(durationRule).check(z.regex(/^\d+(ms|s|m|h|d)$/, durationRule)),
  z.transform((value: string) => {
    const unit = /[a-z]+$/.exec(value)![0] as Unit;
    return Number.parseInt(value, 10) * unitMs[unit];
  }),
);

export interface Address {
  readonly host: string;
  readonly port: number;
}

const addressRule = 'must be an address, host:port, such as 127.0.0.1:9464';
const addressPattern = /^(?:(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):)?(\d{1,5})$/;

/** `host:port`, `[v6]:port`, or a port alone, which means this machine only. Port 0 takes a free one. */
export const address = z.pipe(
  z.string(addressRule).check(
    z.regex(addressPattern, addressRule),
    z.refine(
      (value) => Number(addressPattern.exec(value)?.[2]) <= 65_535,
      'must have a port of at most 65535',
    ),
  ),
  z.transform((value: string): Address => {
    const [, host, port] = addressPattern.exec(value)!;
    return { host: host?.replace(/^\[|\]$/g, '') ?? '127.0.0.1', port: Number(port) };
  }),
);

export const endpoint = z.string().check(without(endpointProblem));

/** A check that tells what `problemOf` finds. */
function without(problemOf: (value: string) => string | undefined): z.core.$ZodCheck<string> {
  return z.superRefine((value, context) => {
    const problem = problemOf(value);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });
}

function endpointProblem(value: string): string | undefined {
  if (!URL.canParse(value) || !/^https?:\/\//i.test(value))
    return 'must be a URL such as https://s3.example.com';
  const url = new URL(value);
  if (url.username !== '' || url.password !== '')
    return 'must not hold credentials; they have fields of their own';
  if (url.search !== '' || url.hash !== '') return 'must not hold a query or a fragment';
  return undefined;
}

const maxPrefixBytes = 512;

export const prefix = z.string().check(without(prefixProblem));

function prefixProblem(value: string): string | undefined {
  if (value === '') return undefined;
  if (!value.isWellFormed()) return 'is not valid Unicode';
  if (!value.endsWith('/')) return 'must end with "/", so that no other key can begin like it';
  const segments = value.slice(0, -1).split('/');
  if (segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
    return 'must not begin with "/" nor hold empty segments, "." or ".."';
  }
  if (isReserved(value)) return `must not lie below "${reservedPrefix}", which is reserved for Isobar`;
  return Buffer.byteLength(value) > maxPrefixBytes
    ? `must not be longer than ${maxPrefixBytes} bytes`
    : undefined;
}

/** One of `available`; what is `planned` is refused by saying so rather than as an unknown word. */
export function oneOf<const T extends readonly [string, ...string[]]>(
  available: T,
  planned: readonly string[],
): z.ZodMiniEnum<{ [K in T[number]]: K }> {
  const list = available.map((value) => `\`${value}\``).join(' or ');
  const isPlanned = (input: unknown): boolean =>
    typeof input === 'string' ? planned.includes(input) : typeof input === 'object' && input !== null;
  return z.enum(available, {
    error: (issue) =>
      planned.length > 0 && isPlanned(issue.input)
        ? `is not available yet; for now it must be ${list}`
        : undefined,
  }) as never;
}
