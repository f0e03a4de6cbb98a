/**
 * Locks that end with their process, however it ends. A lock is a file that names its owner; it appears whole, by
 * link(2), so that a reader never sees a part of it. File systems without hard links have no locks.
 */
import * as Crypto from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import { ProcessLock } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as StateFolder from "./StateFolder.js"

/** What the lock file says. */
const Owner = Schema.Struct({
  /** No two locks share one. */
  id: Schema.String,
  // Zero and negative numbers name groups of processes.
  pid: Schema.Int.pipe(Schema.between(1, 2 ** 31 - 1)),
  host: Schema.String,
  /** When the process started, in the kernel's ticks: a number is given to another process some day. */
  start: Schema.optional(Schema.String),
  /** Which start of the machine. */
  boot: Schema.optional(Schema.String),
  /** The PID namespace: containers may share a host name and a folder, and do not see each other's processes. */
  namespace: Schema.optional(Schema.String)
})
type Owner = typeof Owner.Type

/**
 * A lock is taken over at once when its owner is surely dead: no such process, or another one under its number, or the
 * machine was started again. An owner on another host, or in a container of its own, is taken for alive for ever.
 */
export const make: ProcessLock.Service = {
  acquire: (path) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.promise(() => take(`${path}.lock`)),
        (lock) => (lock === undefined ? Effect.void : Effect.promise(() => release(lock)))
      ),
      (lock) => lock !== undefined
    )
}

export const layer: Layer.Layer<never> = Layer.succeed(ProcessLock.ProcessLock, make)

// internal

interface Lock {
  readonly file: string
  /** The file's content. */
  readonly text: string
  /** A file with that content, to be linked. */
  readonly draft: string
}

/** A lock file is some 200 bytes. */
const maxSize = 4096

/** So often may others come and go while we look. */
const maxAttempts = 5

/** So many processes may have died one after the other while they took over the same lock. */
const maxGuards = 8

const take = async (file: string): Promise<Lock | undefined> => {
  const id = Crypto.randomUUID()
  const owner: Owner = { id, ...(await self()) }
  const lock: Lock = { file, text: JSON.stringify(owner), draft: `${file}.${id}${StateFolder.temporarySuffix}` }
  if (!(await StateFolder.create(lock.draft, lock.text, false))) return undefined
  const taken = await place(lock, file, maxGuards)
  await StateFolder.remove(lock.draft)
  return taken ? lock : undefined
}

const release = async ({ file, text }: Lock): Promise<void> => {
  if ((await StateFolder.read(file, maxSize))?.text === text) await StateFolder.remove(file)
}

/**
 * Makes `file` ours unless a living process owns it.
 *
 * What a dead one left is not removed, for a second process that saw it too would then remove what the first put in
 * its place. It is replaced, and only by the owner of its guard: a file named after that very content, had by the same
 * rule. Whoever has the guard looks again. If the dead owner's file is still there, nobody else may replace it; moving
 * the guard over it makes us the owner and ends the guard in one step. If not, somebody was faster.
 */
const place = async (lock: Lock, file: string, guards: number): Promise<boolean> => {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const linked = await link(lock.draft, file)
    if (linked !== "exists") return linked === "made"
    const found = await StateFolder.read(file, maxSize)
    if (found === undefined) continue
    if (guards === 0 || !(await isLeft(found))) return false
    const guard = `${lock.file}.${nameOf(found)}`
    if (!(await place(lock, guard, guards - 1))) return false
    const again = await StateFolder.read(file, maxSize)
    const same = again !== undefined && nameOf(again) === nameOf(found)
    if (same && (await StateFolder.rename(guard, file))) return true
    await StateFolder.remove(guard)
    if (same) return false
  }
  return false
}

const link = (from: string, to: string): Promise<"made" | "exists" | "failed"> =>
  Fs.link(from, to).then(
    () => "made",
    (error) => (StateFolder.isCode(error, "EEXIST") ? "exists" : "failed")
  )

/** The time tells empty files apart. */
const nameOf = ({ stats, text }: StateFolder.SmallFile): string =>
  Crypto.createHash("sha256").update(`${stats.mtimeMs} ${text}`).digest("hex").slice(0, 32)

const decode = Schema.decodeUnknownOption(Schema.parseJson(Owner))

/** Whether its owner is dead. A power failure may leave a file without its content; what else is no lock stays. */
const isLeft = async ({ text }: StateFolder.SmallFile): Promise<boolean> => {
  if (/^\0*$/.test(text)) return true
  const owner = decode(text)
  return Option.isSome(owner) && isDead(owner.value, await self())
}

const isDead = async (owner: Owner, ours: Process): Promise<boolean> => {
  if (owner.host !== ours.host) return false
  if (isOther(owner.boot, ours.boot)) return true
  if (isOther(owner.namespace, ours.namespace)) return false
  try {
    // Signal 0 only asks.
    process.kill(owner.pid, 0)
  } catch (error) {
    if (StateFolder.isCode(error, "ESRCH")) return true
  }
  const now = await statusOf(owner.pid)
  return now !== undefined && (now.ended || isOther(owner.start, now.start))
}

/** Whether both are known and differ. */
const isOther = (one: string | undefined, other: string | undefined): boolean =>
  one !== undefined && other !== undefined && one !== other

type Process = Omit<Owner, "id">

let ourselves: Promise<Process> | undefined

const self = (): Promise<Process> => {
  ourselves ??= describe()
  return ourselves
}

const describe = async (): Promise<Process> => {
  const [boot, namespace, status] = await Promise.all([
    orUndefined(Fs.readFile("/proc/sys/kernel/random/boot_id", "utf8")),
    orUndefined(Fs.readlink("/proc/self/ns/pid")),
    statusOf(process.pid)
  ])
  return { pid: process.pid, host: Os.hostname(), start: status?.start, boot: boot?.trim(), namespace }
}

interface Status {
  readonly start: string | undefined
  /** A process that nobody has waited for yet has a number still. */
  readonly ended: boolean
}

/** `undefined` where there is no /proc. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
const statusOf = async (pid: number): Promise<Status | undefined> => {
  const text = await orUndefined(Fs.readFile(`/proc/${pid}/stat`, "utf8"))
  // The second field, the name, may hold anything; the third is the state and the 22nd the time of start.
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ")
  return fields && { start: fields[19], ended: fields[0] === "Z" || fields[0] === "X" }
}

const orUndefined = (promise: Promise<string>): Promise<string | undefined> => promise.catch(() => undefined)
