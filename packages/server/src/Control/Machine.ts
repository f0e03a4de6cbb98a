/** Where a process runs, as far as another one has to know to say whether it still does. */
import * as Fs from "node:fs/promises"
import { hostname } from "node:os"
import * as Schema from "effect/Schema"

export const Place = Schema.Struct({
  // Zero and negative numbers name groups of processes.
  pid: Schema.Int.pipe(Schema.between(1, 2 ** 31 - 1)),
  /** When the process started, in the kernel's ticks: a number is given to another process some day. */
  start: Schema.optional(Schema.String),
  host: Schema.String,
  /** Which start of the machine. */
  boot: Schema.optional(Schema.String),
  /** The namespaces of network and processes: containers share folders, and do not see each other. */
  network: Schema.optional(Schema.String),
  processes: Schema.optional(Schema.String)
})
export type Place = typeof Place.Type

/** What a system does not tell is left out. https://man7.org/linux/man-pages/man7/namespaces.7.html */
export const here = async (): Promise<Place> => {
  const [boot, network, processes, start] = await Promise.all([
    orUndefined(Fs.readFile("/proc/sys/kernel/random/boot_id", "utf8")),
    orUndefined(Fs.readlink("/proc/self/ns/net")),
    orUndefined(Fs.readlink("/proc/self/ns/pid")),
    startOf(process.pid)
  ])
  return { pid: process.pid, start, host: hostname(), boot: boot?.trim(), network, processes }
}

/** Whether loopback addresses mean the same there and here. */
export const sharesNetwork = (there: Place, here: Place): boolean =>
  there.host === here.host && there.boot === here.boot && there.network === here.network

/** Whether the process is certainly gone. */
export const isGone = async (there: Place, here: Place): Promise<boolean> => {
  if (!sharesNetwork(there, here) || there.processes !== here.processes) return false
  try {
    // Signal 0 only asks.
    process.kill(there.pid, 0)
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ESRCH") return true
  }
  const start = await startOf(there.pid)
  return start !== undefined && there.start !== undefined && start !== there.start
}

// internal

/** `undefined` where there is no /proc. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
const startOf = async (pid: number): Promise<string | undefined> => {
  const text = await orUndefined(Fs.readFile(`/proc/${pid}/stat`, "utf8"))
  // The second field, the name, may hold anything; the 22nd is the time of start.
  return text?.slice(text.lastIndexOf(")") + 2).split(" ")[19]
}

const orUndefined = (promise: Promise<string>): Promise<string | undefined> => promise.catch(() => undefined)
