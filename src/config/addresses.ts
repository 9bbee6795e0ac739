import type { Address } from './values.ts';

/** As the file has it: `host:port`, `[v6]:port`. */
export function addressText({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** One machine cannot listen at both. Port 0 takes a free one each time. */
export function excludeEachOther(a: Address, b: Address): boolean {
  if (a.port === 0 || a.port !== b.port) return false;
  const [one, other] = [plainHost(a), plainHost(b)];
  return one === other || takes(one, other) || takes(other, one);
}

/** `address` with the next port that none of `taken` uses. */
export function nextFree({ host, port }: Address, taken: readonly Address[]): Address {
  const ports = taken.map((one) => one.port);
  let free = port;
  while (ports.includes(free)) free = free === 65_535 ? 1024 : free + 1;
  return { host, port: free };
}

function takes(wildcard: string, other: string): boolean {
  return wildcard === '[::]' || (wildcard === '0.0.0.0' && !other.startsWith('['));
}

/** However it is spelt: `0:0::1` is `::1`, `localhost` is this machine. */
function plainHost(address: Address): string {
  const { hostname } = URL.parse(`http://${addressText(address)}`) ?? { hostname: address.host };
  return hostname === 'localhost' ? '127.0.0.1' : hostname;
}
