import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';

/**
 * LMDB reads its file through a memory map: a page that is missing, or points outside, ends the process with
 * SIGBUS or SIGSEGV instead of an error. So the file is looked at before it is opened.
 *
 * Checked are both meta pages, and from the newest one on the pages of the trees, branches first: every page
 * is inside the file, carries its own number and the kind that its place demands. `budget` bounds how many
 * are read (16 MiB by default, which covers all branch pages of some ten million rows); a file that is
 * shorter than its meta page says is read in full, because LMDB may leave unused pages at the end unwritten.
 * What is inside a row is not checked: bits that turned over in there are found when the row is parsed.
 *
 * Layout: lmdb 3.5 (LMDB 0.9.90), data version 2, checked against files that it wrote.
 */
export function fileProblem(path: string, budget = 4096): string | undefined {
  if (endianness() !== 'LE') return undefined;
  const fd = openSync(path, 'r');
  try {
    return problemOf(new PageFile(fd), budget);
  } finally {
    closeSync(fd);
  }
}

const magic = 0xbeefc0de;
const dataVersion = 2;
const headerBytes = 24;
const kind = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 } as const;
const node = { bigData: 0x01, subTree: 0x02 } as const;
const noPage = 0xffff_ffff_ffff_ffffn;

interface Meta {
  readonly pageSize: number;
  readonly lastPage: number;
  readonly transaction: bigint;
  readonly roots: readonly bigint[];
}

class PageFile {
  readonly bytes: number;
  pageSize = 4096;
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
    this.bytes = fstatSync(fd).size;
  }

  get pages(): number {
    return Math.floor(this.bytes / this.pageSize);
  }

  read(page: number): Buffer {
    const buffer = Buffer.alloc(this.pageSize);
    readSync(this.#fd, buffer, 0, this.pageSize, page * this.pageSize);
    return buffer;
  }
}

function problemOf(file: PageFile, budget: number): string | undefined {
  if (file.bytes < 2 * 4096) return `its data file is cut off after ${file.bytes} bytes`;
  const first = readMeta(file, 0);
  if (typeof first === 'string') return first;
  file.pageSize = first.pageSize;
  const second = readMeta(file, 1);
  if (typeof second === 'string') return second;
  if (second.pageSize !== first.pageSize) return 'its two meta pages differ in page size';
  const newest = second.transaction > first.transaction ? second : first;
  const isShort = file.pages <= newest.lastPage;
  return walk(file, newest, isShort ? Number.POSITIVE_INFINITY : budget);
}

function readMeta(file: PageFile, page: number): Meta | string {
  const bytes = file.read(page);
  const damaged = `meta page ${page} of its data file is damaged`;
  if (bytes.readUInt16LE(18) !== kind.meta || bytes.readUInt32LE(24) !== magic) return damaged;
  const version = bytes.readUInt32LE(28);
  if (version !== dataVersion)
    return `its data file has format ${version}, and this program reads ${dataVersion}`;
  const pageSize = bytes.readUInt32LE(48);
  const isPowerOfTwo = (pageSize & (pageSize - 1)) === 0;
  if (pageSize < 512 || pageSize > 65536 || !isPowerOfTwo) return damaged;
  return {
    pageSize,
    roots: [bytes.readBigUInt64LE(88), bytes.readBigUInt64LE(136)],
    lastPage: Number(bytes.readBigUInt64LE(144)),
    transaction: bytes.readBigUInt64LE(152),
  };
}

/** Breadth first, so that a small budget goes to the branch pages. */
function walk(file: PageFile, meta: Meta, budget: number): string | undefined {
  const queue: number[] = [];
  const limit = Math.min(file.pages, meta.lastPage + 1);
  const wanted = (page: bigint): string | undefined => {
    if (page === noPage) return undefined;
    if (page < 2n || page >= BigInt(limit)) {
      return `page ${page} is needed, and its data file holds ${limit} pages (cut off, or damaged)`;
    }
    queue.push(Number(page));
    return undefined;
  };
  for (const root of meta.roots) {
    const problem = wanted(root);
    if (problem !== undefined) return problem;
  }
  for (let read = 0; read < budget && read < queue.length; read++) {
    const problem = inspect(file.read(queue[read]!), queue[read]!, wanted, limit);
    if (problem !== undefined) return problem;
  }
  return queue.length > limit ? 'its pages point at one another in circles' : undefined;
}

type Wanted = (page: bigint) => string | undefined;

function inspect(bytes: Buffer, page: number, wanted: Wanted, limit: number): string | undefined {
  const damaged = `page ${page} of its data file is damaged`;
  const flags = bytes.readUInt16LE(18);
  if (bytes.readBigUInt64LE(0) !== BigInt(page)) return damaged;
  const isBranch = flags === kind.branch;
  if (!isBranch && flags !== kind.leaf) return damaged;
  const slotBytes = bytes.readUInt16LE(20);
  if (slotBytes % 2 !== 0 || headerBytes + slotBytes > bytes.length) return damaged;
  for (let slot = 0; slot < slotBytes; slot += 2) {
    const at = bytes.readUInt16LE(headerBytes + slot) + headerBytes;
    if (at + 8 > bytes.length) return damaged;
    const problem = isBranch ? wanted(childOf(bytes, at)) : inspectLeaf(bytes, at, wanted, limit);
    if (problem !== undefined) return problem === 'damaged' ? damaged : problem;
  }
  return undefined;
}

function childOf(bytes: Buffer, at: number): bigint {
  const low = BigInt(bytes.readUInt32LE(at));
  return low | (BigInt(bytes.readUInt16LE(at + 4)) << 32n);
}

function inspectLeaf(bytes: Buffer, at: number, wanted: Wanted, limit: number): string | undefined {
  const flags = bytes.readUInt16LE(at + 4);
  const dataAt = at + 8 + bytes.readUInt16LE(at + 6);
  const size = bytes.readUInt32LE(at);
  if ((flags & node.bigData) !== 0) {
    if (dataAt + 8 > bytes.length) return 'damaged';
    const first = Number(bytes.readBigUInt64LE(dataAt));
    const last = first + Math.ceil((headerBytes + size) / bytes.length) - 1;
    return first < 2 || last >= limit ? `rows on the pages up to ${last} are cut off` : undefined;
  }
  if (dataAt + size > bytes.length) return 'damaged';
  if ((flags & node.subTree) !== 0)
    return size === 48 ? wanted(bytes.readBigUInt64LE(dataAt + 40)) : 'damaged';
  return undefined;
}
