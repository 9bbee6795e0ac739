/** An extension longer than this is part of a name. */
const mostLetters = 32;

/** How many extensions of a dataset are remembered; what is beyond counts as known. */
export const mostExtensions = 512;

/** What stands after the last dot of the last segment, in lower case; undefined: there is none. */
export function extensionOf(key: string): string | undefined {
  const dot = key.lastIndexOf('.');
  if (dot <= key.lastIndexOf('/') + 1) return undefined;
  const extension = key.slice(dot + 1);
  return extension === '' || extension.length > mostLetters ? undefined : extension.toLowerCase();
}

/** The key without its extension. */
export function stemOf(key: string): string {
  const extension = extensionOf(key);
  return extension === undefined ? key : key.slice(0, -extension.length - 1);
}

/** What `gone` became when it was renamed to `created`: `x.doc` to `x.doc.new` or `x.new`. */
export function renamedTo(gone: string, created: string): string | undefined {
  const extension = extensionOf(created);
  if (extension === undefined || extension === extensionOf(gone)) return undefined;
  const base = stemOf(created);
  return base === gone || base === stemOf(gone) ? extension : undefined;
}
