/** Shows a running copy: bars where standard error is a terminal, a line for each blob where it is not. */
import type { Digest, Progress } from "@effect-registry/core"
import type { SingleBar } from "cli-progress"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { count, escape, size } from "./output.js"
import type { Service as Stdio } from "./stdio.js"

export interface Options {
  /** Only warnings. */
  readonly quiet: boolean
  /** What happened to a blob that was sent: `pushed`, `pulled`, `copied`. Commands that move nothing have none, and no bars. */
  readonly done?: string | undefined
}

/** The one who writes to standard error, because lines have to go above the bars. */
export interface Display {
  readonly line: (text: string) => void
  readonly emit: Progress.Service["emit"]
}

/** A display for as long as the scope is open. */
export const make = (stdio: Stdio, options: Options): Effect.Effect<Display, never, Scope.Scope> =>
  !options.quiet && options.done !== undefined && stdio.errorIsTerminal
    ? bars(stdio, options.done)
    : Effect.sync(() => lines(stdio, options))

/** A blob in flight for longer than this gets a line now and then, in milliseconds. */
const silence = 10_000

/** Plain lines. `now` is the clock, in milliseconds. */
export const lines = (stdio: Pick<Stdio, "error">, options: Options, now: () => number = Date.now): Display => {
  const moved = new Map<Digest.Digest, { readonly size: number; bytes: number; shown: number }>()
  const line = (text: string) => void stdio.error.write(`${text}\n`)
  const note = options.quiet || options.done === undefined ? () => {} : line
  return {
    line,
    emit: (event) => {
      switch (event._tag) {
        case "BlobStarted":
          moved.set(event.digest, { size: event.size, bytes: 0, shown: now() })
          return
        case "BlobProgress": {
          const blob = moved.get(event.digest)
          if (blob === undefined) return
          blob.bytes += event.bytes
          if (now() - blob.shown < silence) return
          blob.shown = now()
          const all = blob.bytes > blob.size ? "" : ` of ${size(blob.size)}`
          note(`${short(event.digest)}  ${size(blob.bytes)}${all}`)
          return
        }
        case "BlobResumed": {
          const blob = moved.get(event.digest)
          if (blob !== undefined) blob.bytes = event.bytes
          note(`${short(event.digest)}  goes on at ${size(event.bytes)}`)
          return
        }
        case "BlobDone":
          note(doneLine(event, moved.get(event.digest)?.size, options.done ?? ""))
          moved.delete(event.digest)
          return
        default: {
          const text = common(event, options.quiet)
          if (text !== undefined) line(text)
        }
      }
    }
  }
}

// internal

const bars = (stdio: Stdio, done: string): Effect.Effect<Display, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Loaded only where it is shown: the command starts faster without it.
    const { MultiBar } = yield* Effect.promise(() => import("cli-progress").then((module) => module.default))
    const multi = new MultiBar({
      stream: stdio.error,
      format: "{name} {bar} {percentage}% | {done} of {all}",
      barCompleteChar: "#",
      barIncompleteChar: ".",
      barsize: 24,
      fps: 10,
      hideCursor: false,
      clearOnComplete: true,
      stopOnComplete: false,
      autopadding: true
    })
    let open = true
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        open = false
        multi.stop()
      })
    )
    const moving = new Map<Digest.Digest, { readonly bar: SingleBar; readonly size: number; bytes: number }>()
    const line = (text: string) => {
      // Without a bar nothing is drawn, and nothing would draw the line either.
      if (open && moving.size > 0) multi.log(`${text}\n`)
      else stdio.error.write(`${text}\n`)
    }
    const payload = (digest: Digest.Digest, bytes: number, all: number) => ({
      name: short(digest),
      done: size(bytes),
      all: size(Math.max(all, bytes))
    })
    return {
      line,
      emit: (event) => {
        switch (event._tag) {
          case "BlobStarted": {
            const bar = multi.create(Math.max(1, event.size), 0, payload(event.digest, 0, event.size))
            moving.set(event.digest, { bar, size: event.size, bytes: 0 })
            return
          }
          case "BlobResumed":
          case "BlobProgress": {
            const blob = moving.get(event.digest)
            if (blob === undefined) return
            blob.bytes = event.bytes + (event._tag === "BlobResumed" ? 0 : blob.bytes)
            blob.bar.update(Math.max(0, blob.bytes), payload(event.digest, blob.bytes, blob.size))
            return
          }
          case "BlobDone": {
            const blob = moving.get(event.digest)
            line(doneLine(event, blob?.size, done))
            if (blob !== undefined) multi.remove(blob.bar)
            moving.delete(event.digest)
            return
          }
          default: {
            const text = common(event, false)
            if (text !== undefined) line(text)
          }
        }
      }
    }
  })

type Event = Parameters<Progress.Service["emit"]>[0]

const outcomes = { Mounted: "mounted from another repository", Exists: "already there" }

const doneLine = (
  event: Extract<Event, { readonly _tag: "BlobDone" }>,
  bytes: number | undefined,
  done: string
): string => {
  const outcome = event.outcome === "Sent" ? done : outcomes[event.outcome]
  return bytes === undefined
    ? `${short(event.digest)}  ${outcome}`
    : `${short(event.digest)}  ${outcome}  ${size(bytes)}`
}

/** What is said the same way with and without bars. */
const common = (event: Event, quiet: boolean): string | undefined => {
  switch (event._tag) {
    case "Warning":
      return `warning: ${escape(event.message)}`
    case "Retrying":
      return quiet ? undefined : `${escape(event.message)}; attempt ${event.attempt}`
    case "Looking": {
      // Soon done, or a line of it just went by.
      if (quiet || event.total <= 100 || event.done % 1000 !== 0) return undefined
      const total = event.done === 0 ? String(event.total) : `${event.done} of ${event.total}`
      return `${event.done === 0 ? "looking" : "looked"} at ${total} ${escape(event.what)}`
    }
    case "Planned":
      return quiet || event.blobs === 0 ? undefined : `${count(event.blobs, "blob")}, ${size(event.bytes)}`
    case "ManifestDone":
      return quiet || event.tags.length === 0
        ? undefined
        : `${short(event.digest)}  ${event.tags.map(escape).join(", ")}`
    default:
      return undefined
  }
}

/** The first 12 digits, as `docker` shows them. */
const short = (digest: string): string => digest.slice(digest.indexOf(":") + 1).slice(0, 12)
