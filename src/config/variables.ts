// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax that is described here
import { closest } from './problems.ts';

/** The environment, handed in: only the command line reads the real one. */
export type Variables = Readonly<Record<string, string | undefined>>;

export interface VariableProblem {
  /** Where in the text it stands. */
  readonly at: number;
  readonly reference: string;
  readonly message: string;
  readonly hint: string;
}

export interface Substituted {
  readonly text: string;
  /** Names of the variables that were used. */
  readonly used: readonly string[];
  readonly problems: readonly VariableProblem[];
}

/** A doubled dollar, a complete reference, or the beginning of a broken one. */
const reference = /\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{[^}]*\}?/g;

/**
 * `${NAME}` and `${NAME:-default}` (when unset or empty), `$$` for a dollar; any other dollar stays.
 * Values are taken as they are: nothing in them is substituted again.
 */
export function substitute(text: string, variables: Variables): Substituted {
  const used: string[] = [];
  const problems: VariableProblem[] = [];
  const result = text.replace(
    reference,
    (whole: string, name: string | undefined, fallback: string | undefined, at: number) => {
      if (whole === '$$') return '$';
      if (name === undefined) {
        problems.push(malformed(whole, at));
        return '';
      }
      used.push(name);
      const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
      if (fallback !== undefined) return value === undefined || value === '' ? fallback : value;
      if (value === undefined) problems.push(unset(name, whole, at, variables));
      return value ?? '';
    },
  );
  return { text: result, used, problems };
}

function unset(name: string, whole: string, at: number, variables: Variables): VariableProblem {
  const similar = closest(name, Object.keys(variables));
  const meant = similar === undefined ? '' : ` (did you mean \`${similar}\`, which is set?)`;
  return {
    at,
    reference: whole,
    message: `the environment variable ${name} is not set`,
    hint: `set it, or give a default: \${${name}:-default}${meant}`,
  };
}

function malformed(whole: string, at: number): VariableProblem {
  return {
    at,
    reference: whole,
    message: 'this is not a reference to a variable',
    hint: 'write ${NAME} or ${NAME:-default}; for a dollar sign itself write $$',
  };
}
