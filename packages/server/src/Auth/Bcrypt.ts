/** Checks bcrypt hashes in a thread: one check takes a core for 50 ms and more, which no other request shall wait for. */
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { bcryptSource } from "./bcryptSource.js"

export interface Checker {
  /**
   * Whether a password is the one of a hash. `undefined`, at once, where too many checks wait: those of `source`, an
   * address, or all of them. Sources take turns, so one that floods us holds up no other.
   */
  readonly check: (source: string, password: string, hash: string) => Promise<boolean | undefined>
}

/** Checks that may wait, of one source and of all. */
const mostOfOne = 8
const mostOfAll = 128

export const make: Effect.Effect<Checker, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => new Thread()),
    (thread) => Effect.promise(() => thread.end())
  ),
  (thread): Checker => ({ check: (source, password, hash) => thread.check(source, password, hash) })
)

// internal

interface Job {
  readonly password: string
  readonly hash: string
  readonly done: (matches: boolean | undefined) => void
}

const workerSource = `"use strict"
${bcryptSource}
const { parentPort } = require("node:worker_threads")
parentPort.on("message", ({ hash, password }) => parentPort.postMessage(bcrypt.compareSync(password, hash)))
`

class Thread {
  /** The waiting jobs of each source; the source that is next comes first. */
  private readonly waiting = new Map<string, Array<Job>>()
  private count = 0
  private running: Job | undefined
  private worker: Worker | undefined

  check(source: string, password: string, hash: string): Promise<boolean | undefined> {
    const jobs = this.waiting.get(source) ?? []
    if (jobs.length >= mostOfOne || this.count >= mostOfAll) return Promise.resolve(undefined)
    return new Promise((done) => {
      jobs.push({ password, hash, done })
      this.waiting.set(source, jobs)
      this.count += 1
      this.next()
    })
  }

  async end(): Promise<void> {
    const { worker } = this
    this.worker = undefined
    await worker?.terminate()
  }

  private next(): void {
    if (this.running !== undefined) return
    const [first] = this.waiting
    if (first === undefined) return
    const [source, [job, ...others]] = first
    this.waiting.delete(source)
    if (others.length > 0) this.waiting.set(source, others)
    if (job === undefined) return
    this.count -= 1
    this.running = job
    this.worker ??= this.start()
    this.worker.postMessage({ password: job.password, hash: job.hash })
  }

  private answer(matches: boolean | undefined): void {
    const job = this.running
    this.running = undefined
    job?.done(matches)
    this.next()
  }

  private start(): Worker {
    const worker = new Worker(workerSource, { eval: true, execArgv: [], name: "bcrypt" })
    // It has nothing to keep the process alive for.
    worker.unref()
    worker.on("message", (matches: unknown) => this.answer(matches === true))
    // A thread that is lost is replaced; who waited for it may ask again.
    worker.on("error", () => {})
    worker.on("exit", () => {
      if (this.worker !== worker) return
      this.worker = undefined
      this.answer(undefined)
    })
    return worker
  }
}
