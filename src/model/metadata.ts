/**
 * What travels with a body besides its bytes. Absent fields are absent at the store.
 * `user` names are lower case ASCII letters, digits, `-`, `_` and `.` after normalisation by the driver;
 * values are any Unicode without control characters. Drivers escape reversibly where their store is narrower.
 */
export interface ObjectMetadata {
  readonly contentType?: string;
  readonly cacheControl?: string;
  readonly contentEncoding?: string;
  readonly contentDisposition?: string;
  readonly contentLanguage?: string;
  readonly user: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
}

export const noMetadata: ObjectMetadata = { user: {}, tags: {} };

const plainFields = [
  'contentType',
  'cacheControl',
  'contentEncoding',
  'contentDisposition',
  'contentLanguage',
] as const;

/** Equal in everything a user set; `ignore` names user entries that do not count (Isobar's own). */
export function sameMetadata(a: ObjectMetadata, b: ObjectMetadata, ignore: readonly string[] = []): boolean {
  return (
    plainFields.every((field) => a[field] === b[field]) &&
    sameEntries(a.user, b.user, ignore) &&
    sameEntries(a.tags, b.tags, [])
  );
}

function sameEntries(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
  ignore: readonly string[],
): boolean {
  const names = (of: Readonly<Record<string, string>>) =>
    Object.keys(of).filter((name) => !ignore.includes(name));
  const namesOfA = names(a);
  return namesOfA.length === names(b).length && namesOfA.every((name) => a[name] === b[name]);
}
