import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Progress } from "@effect-registry/core"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Channel from "../src/Control/Channel.js"
import * as Control from "../src/Control.js"
import { pushBlob, pushImage } from "./support.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "control-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const nothing = {
  blobs: 0,
  bytes: 0,
  manifests: 0,
  uploads: 0,
  repositories: 0,
  removed: [],
  removedCount: 0,
  kept: []
}

const records = (root: string) => readdirSync(join(root, "control")).sort()
const record = (root: string) => JSON.parse(readFileSync(join(root, "control", records(root).at(-1) ?? ""), "utf8"))
const rewrite = (root: string, change: object) =>
  writeFileSync(join(root, "control", records(root).at(-1) ?? ""), JSON.stringify({ ...record(root), ...change }))

/** What a process leaves that was killed: its words, and nobody behind them. */
const killed = (root: string, change: object = {}) =>
  Effect.gen(function* () {
    yield* Effect.scoped(Control.acquire(root))
    rewrite(root, { released: undefined, ...change })
  })

describe("Control", () => {
  describe("acquire", () => {
    it.scopedLive("refuses a folder that somebody owns, until that one ends", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const scope = yield* Scope.make()
        yield* Scope.extend(Control.acquire(root), scope)
        const error = yield* Effect.flip(Control.acquire(root))
        assert.strictEqual(error.reason, "RootInUse")
        assert.match(
          error.message,
          new RegExp(`^cannot use ${root}: a registry runs on it, process ${process.pid} on `)
        )
        assert.strictEqual(error.hint, "end that one first, or choose another folder")
        yield* Scope.close(scope, Exit.void)
        yield* Control.acquire(root)
        assert.deepEqual(records(root), ["2.json"])
      })
    )

    it.scopedLive("writes its secret for its user alone", () =>
      Effect.gen(function* () {
        const root = yield* folder
        yield* Control.acquire(root)
        assert.strictEqual(statSync(join(root, "control")).mode & 0o777, 0o700)
        assert.strictEqual(statSync(join(root, "control", "1.json")).mode & 0o777, 0o600)
      })
    )

    it.scopedLive("takes over at once what a killed process left, whatever listens on its port now", () =>
      Effect.gen(function* () {
        const root = yield* folder
        yield* killed(root)
        const began = performance.now()
        yield* Effect.scoped(Control.acquire(root))
        const impostor = createServer((_, response) => response.end("it's me")).listen(0, "127.0.0.1")
        yield* Effect.addFinalizer(() => Effect.sync(() => impostor.close()))
        yield* Effect.promise(() => new Promise((resolve) => impostor.once("listening", resolve)))
        const { port } = impostor.address() as AddressInfo
        const place = { ...record(root).place, start: "1" }
        rewrite(root, { released: undefined, port, place })
        yield* Control.acquire(root)
        assert.isBelow(performance.now() - began, 3000)
        assert.deepEqual(records(root), ["3.json"])
      })
    )

    it.scopedLive("does not take over from one that hangs", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const silent = createServer(() => {}).listen(0, "127.0.0.1")
        yield* Effect.addFinalizer(() => Effect.sync(() => silent.close().closeAllConnections()))
        yield* Effect.promise(() => new Promise((resolve) => silent.once("listening", resolve)))
        const { port } = silent.address() as AddressInfo
        yield* killed(root, { port })
        const error = yield* Effect.flip(Control.acquire(root))
        assert.strictEqual(error.reason, "RootInUse")
        assert.include(error.message, "which does not answer here")
      })
    )

    it.scopedLive("lets one of many win that all find the owner killed", () =>
      Effect.gen(function* () {
        const root = yield* folder
        for (let round = 0; round < 5; round++) {
          const exits = yield* Effect.scoped(
            Effect.zipRight(
              killed(root),
              Effect.all(
                Array.from({ length: 12 }, () => Effect.exit(Control.acquire(root))),
                {
                  concurrency: "unbounded"
                }
              )
            )
          )
          assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
          const last = records(root).at(-1)
          assert.deepEqual(records(root), [last])
        }
      })
    )
  })

  describe("the port", () => {
    it.scopedLive("answers only to those who know the secret, and proves to know it", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const control = yield* Control.acquire(root)
        let asked = 0
        yield* control.handle({ collect: () => Effect.sync(() => ({ ...nothing, repositories: ++asked })) })
        const { port, token } = record(root)
        assert.strictEqual(yield* Channel.ping({ port, token }), "Proved")
        assert.strictEqual(yield* Channel.ping({ port, token: "0".repeat(64) }), "Unclear")
        const refused = yield* Effect.flip(Channel.ask({ port, token: "0".repeat(64) }, "/collect", "{}", () => {}))
        assert.strictEqual(refused.message, "it did not take the request")
        const plain = yield* Effect.promise(() =>
          fetch(`http://127.0.0.1:${port}/collect`, { method: "POST", body: "{}" })
        )
        assert.strictEqual(plain.status, 403)
        const large = yield* Effect.exit(Channel.ask({ port, token }, "/collect", " ".repeat(5000), () => {}))
        assert.isTrue(Exit.isFailure(large))
        yield* Effect.promise(
          () =>
            new Promise((resolve) => {
              const socket = connect(port, "127.0.0.1", () => socket.end("\u0000 no HTTP\r\n\r\n"))
              socket.on("close", resolve).on("error", resolve).resume()
            })
        )
        assert.strictEqual(asked, 0)
        assert.strictEqual(yield* Channel.ping({ port, token }), "Proved")
      })
    )
  })

  describe("collect", () => {
    it.scopedLive("is done by the running registry, with the same result and its progress", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const registry = yield* EmbeddedRegistry.make({ root })
        const { layer } = yield* Effect.zipRight(pushBlob("a", new Uint8Array([1])), pushImage("b")).pipe(
          Effect.provideService(EmbeddedRegistry.EmbeddedRegistry, registry)
        )
        const told: Array<string> = []
        yield* Effect.sleep(20)
        const { collected, online } = yield* Control.collect(root, { grace: 0, dryRun: true }).pipe(
          Effect.provideService(Progress.Progress, {
            emit: (event) => event._tag === "Looking" && told.push(`${event.done} of ${event.total} ${event.what}`)
          })
        )
        assert.isTrue(online)
        assert.deepEqual(collected, yield* registry.collect({ grace: 0, dryRun: true }))
        assert.deepEqual([collected.blobs, collected.bytes, collected.repositories], [1, 1, 2])
        assert.include(told, "0 of 1 manifests of b")
        assert.strictEqual((yield* Control.collect(root, { grace: 0 })).collected.blobs, 1)
        const found = yield* Effect.promise(() => fetch(`${registry.url}/v2/b/blobs/${layer.digest}`))
        assert.strictEqual(found.status, 200)
      })
    )

    it.scopedLive("is done here where none runs, which nobody can start meanwhile", () =>
      Effect.gen(function* () {
        const root = yield* folder
        yield* EmbeddedRegistry.make({ root }).pipe(
          Effect.flatMap((registry) =>
            Effect.provideService(pushBlob("a", new Uint8Array([1])), EmbeddedRegistry.EmbeddedRegistry, registry)
          ),
          Effect.scoped
        )
        const { collected, online } = yield* Control.collect(root, { grace: 0 })
        assert.deepEqual([online, collected.blobs], [false, 1])
        yield* EmbeddedRegistry.make({ root })
      })
    )

    it.scopedLive("fails where there is no registry, and makes nothing", () =>
      Effect.gen(function* () {
        const root = yield* folder
        for (const path of [root, join(root, "missing")]) {
          const error = yield* Effect.flip(Control.collect(path))
          assert.deepEqual(
            [error._tag, error.message],
            ["ServerError", `no registry in ${path}: it has no registry.json`]
          )
        }
        assert.deepEqual(readdirSync(root), [])
      })
    )

    it.scopedLive("is stopped in the registry when whoever asked for it ends", () =>
      Effect.gen(function* () {
        const root = yield* folder
        yield* Effect.scoped(EmbeddedRegistry.make({ root }))
        const control = yield* Control.acquire(root)
        const [started, stopped] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        yield* control.handle({
          collect: () =>
            Deferred.succeed(started, undefined).pipe(
              Effect.zipRight(Effect.never),
              Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
            )
        })
        const asking = yield* Effect.fork(Control.collect(root))
        yield* Deferred.await(started)
        yield* Fiber.interrupt(asking)
        yield* Deferred.await(stopped)
      })
    )

    it.scopedLive("has stopped in the registry before another one may own the folder", () =>
      Effect.gen(function* () {
        const root = yield* folder
        yield* Effect.scoped(EmbeddedRegistry.make({ root }))
        for (const place of ["the scope of the owner", "the scope of the handlers"]) {
          const [own, handling] = [yield* Scope.make(), yield* Scope.make()]
          const control = yield* Scope.extend(Control.acquire(root), own)
          const started = yield* Deferred.make<void>()
          const seen: Array<unknown> = []
          // As one in the middle of a batch of removals.
          const busy = Effect.uninterruptible(
            Effect.zipRight(Deferred.succeed(started, undefined), Effect.sleep("200 millis"))
          )
          const collect = () =>
            Effect.zipRight(
              Effect.ensuring(
                busy,
                Effect.sync(() => seen.push(record(root).released))
              ),
              Effect.never
            )
          yield* Scope.extend(control.handle({ collect }), handling)
          const asking = yield* Effect.fork(Effect.flip(Control.collect(root)))
          yield* Deferred.await(started)
          const isOwn = place === "the scope of the owner"
          yield* Scope.close(isOwn ? own : handling, Exit.void)
          assert.deepEqual(seen, [undefined], place)
          assert.strictEqual(record(root).released, isOwn ? true : undefined)
          yield* Fiber.join(asking)
          yield* Scope.close(isOwn ? handling : own, Exit.void)
        }
      })
    )

    it.scopedLive("tells what went wrong in the registry", () =>
      Effect.gen(function* () {
        const root = yield* folder
        yield* Effect.scoped(EmbeddedRegistry.make({ root }))
        const scope = yield* Scope.make()
        const control = yield* Scope.extend(Control.acquire(root), scope)
        const asked = yield* Deferred.make<void>()
        yield* control.handle({ collect: () => Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never) })
        const asking = yield* Effect.fork(Effect.flip(Control.collect(root)))
        yield* Deferred.await(asked)
        yield* Scope.close(scope, Exit.void)
        const error = yield* Fiber.join(asking)
        assert.strictEqual(error.message, "collect garbage in the running registry: it ended before it was done")
      })
    )
  })
})
