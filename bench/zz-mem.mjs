import v8 from 'node:v8'; import { readFileSync } from 'node:fs';
let peak=0, best='';
setInterval(() => { const a = Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status','latin1'))[1])/1024; if (a>peak) { peak=a; const m=process.memoryUsage(); best=`anon ${a.toFixed(0)} heapTotal ${(m.heapTotal/1e6).toFixed(0)} used ${(m.heapUsed/1e6).toFixed(0)} ext ${(m.external/1e6).toFixed(0)} ab ${(m.arrayBuffers/1e6).toFixed(0)} `+v8.getHeapSpaceStatistics().map(s=>`${s.space_name}:${(s.space_size/1e6).toFixed(0)}/${(s.space_used_size/1e6).toFixed(0)}`).join(' '); } }, 20).unref();
process.on('exit', () => console.error(best));
