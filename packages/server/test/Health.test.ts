import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Health from "../src/Health.js"
import { Requests } from "../src/Requests.js"
import { folderOf, send } from "./support.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "health-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

describe("Health", () => {
  it.scoped("is well where a file can be written, and leaves none", () =>
    Effect.gen(function* () {
      const path = yield* folder
      expect(yield* Health.make(new Requests(undefined), { folder: path, write: true })).toBeUndefined()
      expect(readdirSync(path)).toEqual([])
      expect(yield* Health.make(new Requests(undefined), { folder: path, write: false })).toBeUndefined()
      expect(yield* Health.make(new Requests(undefined), undefined)).toBeUndefined()
    })
  )

  it.scoped("says what is wrong: the folder, or that it is about to end", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "none")
      for (const write of [true, false]) {
        const health = Health.make(new Requests(undefined), { folder: path, write })
        expect(yield* health).toBe("the storage cannot be used")
      }
      const requests = new Requests(undefined)
      requests.closing = true
      expect(yield* Health.make(requests, undefined)).toBe("shutting down")
    })
  )

  it.effect("says that the folder may be another one's, before it looks at it", () =>
    Effect.gen(function* () {
      const requests = new Requests(undefined)
      const lost = Effect.succeed("another registry owns the folder")
      const health = Health.make(requests, { folder: "/none", write: true }, lost)
      expect(yield* health).toBe("another registry owns the folder")
      requests.closing = true
      expect(yield* health).toBe("shutting down")
    })
  )

  it.scopedLive("looks once a second at most, however often it is asked", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const health = Health.make(new Requests(undefined), { folder: path, write: true })
      expect(yield* health).toBeUndefined()
      rmSync(path, { recursive: true })
      expect(yield* health).toBeUndefined()
      yield* Effect.sleep("1050 millis")
      expect(yield* health).toBe("the storage cannot be used")
    })
  )

  it.effect("is 503 at the registry whose folder is gone", () =>
    Effect.gen(function* () {
      rmSync(yield* folderOf, { recursive: true })
      const answer = yield* send("GET", "/healthz")
      expect([answer.status, answer.text]).toEqual([503, '{"status":"the storage cannot be used"}'])
    }).pipe(Effect.provide(EmbeddedRegistry.layerTemp()))
  )
})
