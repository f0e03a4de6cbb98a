/** An interrupted transfer goes on where it stopped, also in another process. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import { push } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry } from "@effect-registry/server"
import { OciLayout } from "@effect-registry/tar"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { bundled } from "../../cli/test/support.js"
import { DockerRegistry, Fixture, TcpProxy, Tools, Walk } from "../src/index.js"
import * as Process from "./support/process.js"
import { temporaryFolder } from "./support/servers.js"

const { mebibyte } = Process

/** Of every number that a test draws: in a message where one fails, and in EREG_TEST_SEED to see it again. */
const seed = Number(process.env.EREG_TEST_SEED ?? Date.now() % 1_000_000)

/** Bytes a second. */
const rate = 50_000_000

class Setup extends Context.Tag("test/Setup")<
  Setup,
  { readonly folder: string; readonly command: string; readonly big: Process.Layout }
>() {}

const setup = Layer.scoped(
  Setup,
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const command = yield* bundled
    const big = yield* Process.layout(join(folder, "big"), [500], seed)
    return { folder, command, big }
  })
)

interface Server {
  readonly url: string
  readonly host: string
}

const embedded = Effect.gen(function* () {
  const root = yield* temporaryFolder
  return yield* EmbeddedRegistry.make({ root, fsync: false })
})

/** Starts it, lets bytes move, stops it after a random while; `times` over, then lets it finish. */
const interrupted = (options: {
  readonly words: ReadonlyArray<string>
  readonly home: string
  readonly proxy: TcpProxy.TcpProxy
  readonly times: number
  readonly signal: "SIGKILL" | "SIGINT"
  /** MiB that may pass before it is stopped, drawn between them. */
  readonly life: readonly [number, number]
  readonly afterStop?: Effect.Effect<unknown> | undefined
}) =>
  Effect.gen(function* () {
    const { command } = yield* Setup
    const draw = Process.random(seed)
    const moved = () => options.proxy.bytes().up + options.proxy.bytes().down
    for (let time = 0; time < options.times; time++) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const before = moved()
          const { child, ended } = yield* Process.start(command, options.home, options.words)
          const [least, most] = options.life
          const stopAt = before + (least + draw() * (most - least)) * mebibyte
          yield* Process.until(() => moved() >= stopAt || !Process.isRunning(child))
          assert.isTrue(
            Process.isRunning(child),
            `seed ${seed}: it was over before it was stopped for the time ${time}`
          )
          child.kill(options.signal)
          const [took, { code, stderr }] = yield* Effect.timed(ended)
          if (options.signal === "SIGKILL") return
          assert.strictEqual(code, 130, `seed ${seed}: ${stderr}`)
          assert.isBelow(Duration.toMillis(took), 2000, `seed ${seed}`)
        })
      )
      yield* options.afterStop ?? Effect.void
    }
    const { code, stderr } = yield* Effect.scoped(
      Effect.flatMap(Process.start(command, options.home, options.words), ({ ended }) => ended)
    )
    assert.strictEqual(code, 0, `seed ${seed}: ${stderr}`)
  })

const limited = (server: Server, bytes = rate) => TcpProxy.make(server.url, () => TcpProxy.limit(bytes))

const home = (name: string) =>
  Effect.map(Setup, ({ folder }) => {
    const path = join(folder, name)
    mkdirSync(path)
    return path
  })

/** At most 1.2 times what there is to send. */
const economical = (sent: number, payload: number) =>
  assert.isAtMost(sent / payload, 1.2, `seed ${seed}: ${sent} bytes sent of ${payload}`)

const isRoot = (server: Server, repository: string, layout: Process.Layout) =>
  Effect.map(Walk.registry(server.url, repository, "1"), ({ root }) => assert.strictEqual(root, layout.root))

const pushBig = (server: Server, name: string, signal: "SIGKILL" | "SIGINT") =>
  Effect.gen(function* () {
    const { big } = yield* Setup
    const proxy = yield* limited(server)
    const words = ["push", `oci:${big.folder}`, `${proxy.host}/big:1`, "--quiet"]
    yield* interrupted({ words, home: yield* home(name), proxy, times: 10, signal, life: [1, 42] })
    yield* isRoot(server, "big", big)
    economical(proxy.bytes().up, big.size)
  })

/** The layer is compressed on the way. */
const pushCompressed = (server: Server, name: string, signal: "SIGKILL" | "SIGINT") =>
  Effect.gen(function* () {
    const { folder } = yield* Setup
    const path = join(folder, `${name}.tar`)
    const diffId = yield* Process.archive(path, 100, seed)
    const proxy = yield* limited(server)
    const words = ["push", path, `${proxy.host}/packed:1`, "--quiet"]
    yield* interrupted({ words, home: yield* home(name), proxy, times: 4, signal, life: [1, 19] })
    const { blobs, configs } = yield* Walk.registry(server.url, "packed", "1")
    const [layer] = [...blobs].filter(([digest]) => digest !== configs[0]).map(([, { bytes }]) => bytes)
    assert.strictEqual<string>(Fixture.digest(new Uint8Array(gunzipSync(layer ?? new Uint8Array()))), diffId)
    economical(proxy.bytes().up, 100 * mebibyte)
  })

const pushTwice = (server: Server, name: string) =>
  Effect.gen(function* () {
    const { command, folder } = yield* Setup
    const layout = yield* Process.layout(join(folder, `${name}-layout`), [40, 20, 20], seed + 1)
    const proxy = yield* limited(server, 2 * rate)
    const words = ["push", `oci:${layout.folder}`, `${proxy.host}/twice:1`, "--quiet"]
    const path = yield* home(name)
    const ends = yield* Effect.scoped(
      Effect.all(
        [1, 2].map(() => Effect.flatMap(Process.start(command, path, words), ({ ended }) => ended)),
        {
          concurrency: 2
        }
      )
    )
    assert.deepStrictEqual(
      ends.map(({ code, stderr }) => [code, stderr]),
      [
        [0, ""],
        [0, ""]
      ]
    )
    yield* isRoot(server, "twice", layout)
  })

/** In this process: the fiber is interrupted, or its time is up. */
const pushInProcess = (server: Server, name: string) =>
  Effect.gen(function* () {
    const { folder } = yield* Setup
    const layout = yield* Process.layout(join(folder, `${name}-layout`), [64], seed + 2)
    const proxy = yield* limited(server, 20_000_000)
    const run = push(OciLayout.folder(layout.folder), `${proxy.host}/fiber:1`).pipe(
      Effect.provide(NodeRegistry.layer({ state: yield* home(name) }))
    )
    const stops: ReadonlyArray<Effect.Effect<number, never, Scope.Scope>> = [
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(run)
        yield* Effect.sleep("900 millis")
        const [took, exit] = yield* Effect.timed(Fiber.interrupt(fiber))
        assert.isTrue(Exit.isInterrupted(exit))
        return Duration.toMillis(took)
      }),
      Effect.gen(function* () {
        const [took, exit] = yield* Effect.timed(Effect.exit(Effect.timeout(run, "900 millis")))
        assert.match(String(exit), /TimeoutException/)
        return Duration.toMillis(took) - 900
      })
    ]
    for (const stop of stops) {
      assert.isBelow(yield* stop, 2000)
      const after = proxy.bytes().up
      yield* Effect.sleep("200 millis")
      assert.strictEqual(proxy.bytes().up, after, "nothing is sent any more")
    }
    yield* run
    yield* isRoot(server, "fiber", layout)
    economical(proxy.bytes().up, layout.size)
  })

const time = 300_000

layer(setup, { excludeTestServices: true, timeout: 60_000 })("an interrupted transfer", (it) => {
  const docker = Tools.needing(it.scoped, "docker-registry")

  it.scoped(
    "packages/server: a push of 500 MiB that is killed ten times sends little twice",
    () => Effect.flatMap(embedded, (server) => pushBig(server, "server-kill", "SIGKILL")),
    time
  )

  it.scoped(
    "packages/server: a push of a layer that is compressed on the way, killed, sends little twice",
    () => Effect.flatMap(embedded, (server) => pushCompressed(server, "server-packed", "SIGKILL")),
    time
  )

  it.scoped(
    "packages/server: two processes that push the same at once do not disturb each other",
    () => Effect.flatMap(embedded, (server) => pushTwice(server, "server-twice")),
    time
  )

  it.scoped(
    "packages/server: a fiber's interruption and a timeout end the body in flight, and the next push goes on",
    () => Effect.flatMap(embedded, (server) => pushInProcess(server, "server-fiber")),
    time
  )

  docker(
    "docker-registry: a push of 500 MiB that is stopped ten times by SIGINT sends little twice",
    () => Effect.flatMap(DockerRegistry.make(), (server) => pushBig(server, "docker-stop", "SIGINT")),
    time
  )

  docker(
    "docker-registry: a push of a layer that is compressed on the way, stopped by SIGINT, sends little twice",
    () => Effect.flatMap(DockerRegistry.make(), (server) => pushCompressed(server, "docker-packed", "SIGINT")),
    time
  )

  docker(
    "docker-registry: a pull of 500 MiB that is killed ten times receives little twice",
    () =>
      Effect.gen(function* () {
        const { big, command, folder } = yield* Setup
        const server = yield* DockerRegistry.make()
        const path = yield* home("docker-pull")
        const seeded = yield* Process.start(command, path, ["push", `oci:${big.folder}`, `${server.host}/big:1`])
        assert.strictEqual((yield* seeded.ended).code, 0)
        const proxy = yield* limited(server)
        const target = join(folder, "pulled.tar")
        const words = ["pull", `${proxy.host}/big:1`, target, "--quiet"]
        yield* interrupted({ words, home: path, proxy, times: 10, signal: "SIGKILL", life: [1, 42] })
        const graphs = yield* Walk.ociArchive(target)
        assert.deepStrictEqual(
          graphs.map(({ root }) => root),
          [big.root],
          `seed ${seed}`
        )
        economical(proxy.bytes().down, big.size)
      }),
    time
  )

  docker(
    "docker-registry: a push of ten blobs that is killed never sends a finished one again",
    () =>
      Effect.gen(function* () {
        const { folder } = yield* Setup
        const layout = yield* Process.layout(join(folder, "ten"), new Array<number>(10).fill(50), seed + 3)
        const server = yield* DockerRegistry.make()
        const proxy = yield* limited(server, 3 * rate)
        const finished = new Map<string, number>()
        const afterStop = Effect.promise(async () => {
          for (const digest of layout.layers) {
            const { ok } = await fetch(`${server.url}/v2/ten/blobs/${digest}`, { method: "HEAD" })
            if (ok && !finished.has(digest)) finished.set(digest, proxy.requests().length)
          }
        })
        const words = ["push", `oci:${layout.folder}`, `${proxy.host}/ten:1`, "--quiet", "--concurrency", "2"]
        const path = yield* home("docker-ten")
        yield* interrupted({ words, home: path, proxy, times: 3, signal: "SIGKILL", life: [110, 160], afterStop })
        yield* isRoot(server, "ten", layout)
        assert.isAbove(finished.size, 0, `seed ${seed}: no blob was finished before the last kill`)
        for (const [digest, since] of finished) {
          const again = proxy
            .requests()
            .filter(({ index, method, url }) => index >= since && method === "PUT" && url.includes(digest.slice(7)))
          assert.deepStrictEqual(again, [], `seed ${seed}`)
        }
      }),
    time
  )

  docker(
    "docker-registry: two processes that push the same at once do not disturb each other",
    () => Effect.flatMap(DockerRegistry.make(), (server) => pushTwice(server, "docker-twice")),
    time
  )

  docker(
    "docker-registry: a fiber's interruption and a timeout end the body in flight, and the next push goes on",
    () => Effect.flatMap(DockerRegistry.make(), (server) => pushInProcess(server, "docker-fiber")),
    time
  )
})
