import { limits } from './rule.ts';

/** Objects are maps: a key such as `__proto__` is data like any other. */
export type Json = null | boolean | string | JsonNumber | readonly Json[] | JsonObject;
export type JsonObject = ReadonlyMap<string, Json>;

/** As text: the ES form where that has the same decimal value, otherwise what the writer wrote. */
export interface JsonNumber {
  readonly number: string;
}

/** `message` names the place and what is wrong there. */
export class NotJson extends Error {
  override readonly name = 'NotJson';
}

/** RFC 8259 without what RFC 8785 cannot carry. Throws `NotJson`. */
export function parseJson(body: Uint8Array): Json {
  if (body.length > limits.bodyBytes) {
    throw new NotJson(`it is ${body.length} bytes long, more than the ${limits.bodyBytes} that are merged`);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    throw new NotJson('it is not UTF-8');
  }
  return new Reader(text).document();
}

/** RFC 8785, and numbers beyond IEEE doubles as they were written. */
export function canonical(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (!isObject(value)) return value.number;
  // `sort` without a comparison orders by UTF-16 units, as RFC 8785 3.2.3 asks.
  const members = [...value.keys()]
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value.get(key)!)}`);
  return `{${members.join(',')}}`;
}

export function bytesOf(value: Json): Uint8Array {
  return new TextEncoder().encode(canonical(value));
}

export function sameJson(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (isObject(a)) {
    if (!isObject(b) || a.size !== b.size) return false;
    return [...a].every(([key, value]) => b.has(key) && sameJson(value, b.get(key)!));
  }
  if (isArray(a)) {
    return isArray(b) && a.length === b.length && a.every((value, at) => sameJson(value, b[at]!));
  }
  return isNumber(a) && isNumber(b) && a.number === b.number;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return value instanceof Map;
}

export function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

export function isNumber(value: Json | undefined): value is JsonNumber {
  return typeof value === 'object' && value !== null && !isArray(value) && !isObject(value);
}

/** RFC 6901. */
export function pointerTo(path: readonly string[]): string {
  return path.map((key) => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** Undefined when it is no JSON pointer. */
export function parsePointer(pointer: string): string[] | undefined {
  if (pointer === '') return [];
  if (!pointer.startsWith('/') || /~(?![01])/.test(pointer)) return undefined;
  return pointer
    .slice(1)
    .split('/')
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
}

const numberForm = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 8259 allows none of them in a string.
const plainText = /[^"\\\u0000-\u001f]*/y;
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Reader {
  readonly #text: string;
  readonly #path: string[] = [];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Json {
    const value = this.#value();
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#wrong('more follows after its end');
    return value;
  }

  #value(): Json {
    this.#skipSpace();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#nested(() => this.#object());
      case '[':
        return this.#nested(() => this.#array());
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > limits.depth) throw this.#wrong(`it is nested deeper than ${limits.depth}`);
    this.#at++;
    const value = read();
    this.#depth--;
    return value;
  }

  #object(): JsonObject {
    const members = new Map<string, Json>();
    if (this.#takes('}')) return members;
    do {
      this.#skipSpace();
      if (this.#text[this.#at] !== '"') throw this.#wrong('a key is missing');
      const key = this.#string();
      if (members.has(key)) throw this.#wrong(`the key ${JSON.stringify(key)} stands there twice`);
      if (!this.#takes(':')) throw this.#wrong('a colon is missing');
      this.#path.push(key);
      members.set(key, this.#value());
      this.#path.pop();
    } while (this.#takes(','));
    if (!this.#takes('}')) throw this.#wrong('an object does not end');
    return members;
  }

  #array(): Json[] {
    const values: Json[] = [];
    if (this.#takes(']')) return values;
    do {
      this.#path.push(String(values.length));
      values.push(this.#value());
      this.#path.pop();
    } while (this.#takes(','));
    if (!this.#takes(']')) throw this.#wrong('an array does not end');
    return values;
  }

  #string(): string {
    this.#at++;
    let value = this.#match(plainText);
    while (this.#text[this.#at] === '\\') value += this.#escape() + this.#match(plainText);
    if (this.#text[this.#at] !== '"')
      throw this.#wrong('a string does not end, or holds a control character');
    this.#at++;
    // RFC 8785 3.2.2.2: half of a surrogate pair has no UTF-8, so it could not be written again.
    if (!value.isWellFormed()) throw this.#wrong('a string holds half of a surrogate pair');
    return value;
  }

  #escape(): string {
    const kind = this.#text[this.#at + 1] ?? '';
    if (kind === 'u') {
      const digits = this.#text.slice(this.#at + 2, this.#at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#wrong('an escape is unknown');
      this.#at += 6;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    if (!Object.hasOwn(escapes, kind)) throw this.#wrong('an escape is unknown');
    this.#at += 2;
    return escapes[kind]!;
  }

  #number(): JsonNumber {
    const text = this.#match(numberForm);
    if (text === '') throw this.#wrong('a value is missing or unknown');
    return numberOf(text);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#wrong('a value is missing or unknown');
    this.#at += word.length;
    return value;
  }

  #takes(unit: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== unit) return false;
    this.#at++;
    return true;
  }

  #match(form: RegExp): string {
    form.lastIndex = this.#at;
    if (!form.test(this.#text)) return '';
    const found = this.#text.slice(this.#at, form.lastIndex);
    this.#at = form.lastIndex;
    return found;
  }

  #skipSpace(): void {
    while (' \t\n\r'.includes(this.#text[this.#at] ?? 'end')) this.#at++;
  }

  #wrong(what: string): NotJson {
    return new NotJson(`at "${pointerTo(this.#path)}" (character ${this.#at + 1}): ${what}`);
  }
}

/** Enough for every double that anybody prints; the work on longer ones grows with the square. */
const maxComparedDigits = 400;

/** `text` matches the grammar of JSON. */
export function numberOf(text: string): JsonNumber {
  if (text.length > maxComparedDigits) return { number: text };
  const value = Number(text);
  const form = String(value);
  return { number: Number.isFinite(value) && decimalOf(text) === decimalOf(form) ? form : text };
}

/** Equal exactly when the numbers are: sign, digits without zeros around them, and the power of ten. */
function decimalOf(text: string): string {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(
    text,
  )!;
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  const power = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
  return `${sign}${significant}e${power}`;
}
