import type { Condition, Token } from '../../ports/object-store.ts';

/** Generation: new with every write of a body. Metageneration: grows with every change of metadata alone. */
export interface Generation {
  readonly generation: string;
  readonly metageneration: string;
}

export function tokenOf(of: Generation): Token {
  return `${of.generation}.${of.metageneration}`;
}

/** Undefined for a text that is no token of this store: it names no write here. */
export function parseToken(token: Token): Generation | undefined {
  const match = /^(\d{1,19})\.(\d{1,19})$/.exec(token);
  return match === null ? undefined : { generation: match[1]!, metageneration: match[2]! };
}

export type Query = Readonly<Record<string, string>>;

/** Generation 0 is the service's word for "no live object"; it then has no metageneration to match. */
export const ifAbsent: Query = { ifGenerationMatch: '0' };

export function ifMatch(wanted: Generation): Query {
  return { ifGenerationMatch: wanted.generation, ifMetagenerationMatch: wanted.metageneration };
}

/** Undefined when the condition names a write that this store cannot have made, so that it cannot hold. */
export function queryOf(condition: Condition): Query | undefined {
  if (condition.kind === 'absent') return ifAbsent;
  const wanted = parseToken(condition.token);
  return wanted === undefined ? undefined : ifMatch(wanted);
}
