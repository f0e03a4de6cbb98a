import { describe, expect, it } from "@effect/vitest"
import { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Progress from "../src/progress.js"
import { memoryStdio } from "./support.js"

const digest = Digest.fromBytes(new Uint8Array(1))
const other = Digest.fromBytes(new Uint8Array(2))
const short = Digest.short(digest)

const play = (display: Progress.Display, done = false) => {
  display.emit({ _tag: "Planned", blobs: 2, bytes: 3000 })
  display.emit({ _tag: "BlobStarted", digest, size: 2000 })
  display.emit({ _tag: "BlobProgress", digest, bytes: 1000 })
  display.emit({ _tag: "Retrying", operation: "upload", attempt: 2, message: "upload\u001b: reset" })
  display.emit({ _tag: "Warning", message: "mind\u0007 this" })
  if (done) display.emit({ _tag: "BlobDone", digest, outcome: "Sent" })
}

describe("progress", () => {
  describe("lines", () => {
    it("writes a line for each blob", () => {
      const { stderr, stdio } = memoryStdio()
      const display = Progress.lines(stdio, { quiet: false, done: "pushed" })
      play(display, true)
      display.emit({ _tag: "BlobDone", digest: other, outcome: "Mounted" })
      display.emit({ _tag: "ManifestDone", digest, tags: ["1.0"] })
      expect(stderr()).toBe(
        [
          "2 blobs, 3.0 kB",
          "upload\\x1b: reset; attempt 2",
          "warning: mind\\x07 this",
          `${short}  pushed  2.0 kB`,
          `${Digest.short(other)}  mounted from another repository`,
          `${short}  1.0`,
          ""
        ].join("\n")
      )
    })
    it("says now and then how far a large blob is", () => {
      const { stderr, stdio } = memoryStdio()
      let now = 0
      const display = Progress.lines(stdio, { quiet: false, done: "pulled" }, () => now)
      display.emit({ _tag: "BlobStarted", digest, size: 5000 })
      for (now = 1000; now <= 21_000; now += 1000) display.emit({ _tag: "BlobProgress", digest, bytes: 100 })
      expect(stderr()).toBe(`${short}  1.0 kB of 5.0 kB\n${short}  2.0 kB of 5.0 kB\n`)
    })
    it("says where a blob goes on", () => {
      const { stderr, stdio } = memoryStdio()
      let now = 0
      const display = Progress.lines(stdio, { quiet: false, done: "pulled" }, () => now)
      display.emit({ _tag: "BlobStarted", digest, size: 5000 })
      display.emit({ _tag: "BlobResumed", digest, bytes: 3000 })
      now = 20_000
      display.emit({ _tag: "BlobProgress", digest, bytes: 1000 })
      expect(stderr()).toBe(`${short}  goes on at 3.0 kB\n${short}  4.0 kB of 5.0 kB\n`)
    })
    it("writes warnings alone with --quiet", () => {
      const { stderr, stdio } = memoryStdio()
      play(Progress.lines(stdio, { quiet: true, done: "pushed" }), true)
      expect(stderr()).toBe("warning: mind\\x07 this\n")
    })
  })

  describe("make", () => {
    it.effect("draws bars on a terminal and clears them at the end", () =>
      Effect.gen(function* () {
        const { stderr, stdio } = memoryStdio({ terminal: true })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const display = yield* Progress.make(stdio, { quiet: false, done: "pushed" })
            play(display)
            display.emit({ _tag: "BlobStarted", digest: other, size: 4000 })
            display.emit({ _tag: "BlobResumed", digest: other, bytes: 3000 })
            yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 250)))
            expect(stderr()).toContain(`${short} ############............  50% | 1.0 kB of 2.0 kB`)
            expect(stderr()).toContain(`${Digest.short(other)} ##################......  75% | 3.0 kB of 4.0 kB`)
            display.emit({ _tag: "BlobDone", digest, outcome: "Sent" })
            display.emit({ _tag: "BlobDone", digest: other, outcome: "Sent" })
            display.line("a line")
          })
        )
        const text = stderr()
        expect(text).toContain("warning: mind\\x07 this")
        expect(text).toContain(`${short}  pushed  2.0 kB`)
        expect(text.slice(-40)).toContain("a line\n")
      })
    )
    it.effect("draws nothing for a command that moves nothing, nor with --quiet", () =>
      Effect.gen(function* () {
        for (const options of [{ quiet: false }, { quiet: true, done: "pushed" }]) {
          const { stderr, stdio } = memoryStdio({ terminal: true })
          yield* Effect.scoped(
            Effect.gen(function* () {
              const display = yield* Progress.make(stdio, options)
              display.emit({ _tag: "BlobStarted", digest, size: 10 })
              display.emit({ _tag: "BlobDone", digest, outcome: "Sent" })
            })
          )
          expect(stderr()).toBe("")
        }
      })
    )
  })
})
