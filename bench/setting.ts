import { startLatencyProxy } from '../test/servers/latency-proxy.ts';
import { type RunningServer, type ServerName, type SiteConfig, startServer } from '../test/servers/start.ts';

/** How far away the servers are. */
export interface Setting {
  readonly name: 'loopback' | 'latency';
  /** Round trip that is injected; 0: none, and no proxy. */
  readonly roundTripMs: number;
}

export const settings: readonly Setting[] = [
  { name: 'loopback', roundTripMs: 0 },
  { name: 'latency', roundTripMs: 20 },
];

/** A server and, in the setting with latency, the proxy before it. */
export interface Place {
  readonly server: RunningServer;
  /** The bucket as clients under test reach it. */
  far<C extends SiteConfig>(site: C): C;
  cpuSeconds(): number;
  proxyCpuSeconds(): number;
  stop(): Promise<void>;
}

export async function startPlace(product: ServerName, setting: Setting): Promise<Place> {
  const server = await startServer(product);
  const proxy =
    setting.roundTripMs === 0 ? undefined : await startLatencyProxy(server, setting.roundTripMs / 2);
  return {
    server,
    far: (site) => proxy?.siteConfig(site) ?? site,
    cpuSeconds: () => server.cpuSeconds(),
    proxyCpuSeconds: () => proxy?.cpuSeconds() ?? 0,
    stop: async () => {
      await proxy?.stop();
      await server.stop();
    },
  };
}
