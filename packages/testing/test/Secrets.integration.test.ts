import { chmod, mkdir, writeFile } from "node:fs/promises"
import { delimiter, join } from "node:path"
import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import {
  Credentials,
  copy,
  Digest,
  deleteTag,
  getBlob,
  getManifest,
  listTags,
  MemoryStore,
  Progress,
  ping,
  Registry,
  RegistryError,
  tag
} from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { Faults, TokenServer } from "@effect-registry/server"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { bundled, ereg, start } from "../../cli/test/support.js"
import * as Scripted from "../../core/test/support/ScriptedClient.js"
import { Certificates, Fixture, TcpProxy } from "../src/index.js"
import { collect, type Evidence } from "./support/evidence.js"
import { seed } from "./support/seed.js"
import {
  type Heard,
  type Login,
  record,
  startEmbedded,
  startGuarded,
  temporaryFolder,
  type Way,
  wayTo
} from "./support/servers.js"

const needle = "needle-7f3a9c"
const ann: Login = ["ann", needle]
const users = { ann: { password: needle } }
const quick: NodeRegistry.Options = { retry: { attempts: 2, delay: "1 millis", maxDelay: "1 millis" }, state: false }
const image = Fixture.image({ layers: 2, size: 2000 })
const [layerDigest = ""] = image.layers.map(({ descriptor }) => descriptor.digest)

// The command in this process would look for files of whoever runs the tests.
beforeAll(() => {
  for (const name of ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "DOCKER_CONFIG"]) {
    vi.stubEnv(name, "/nonexistent")
  }
})
afterAll(() => void vi.unstubAllEnvs())

// ---- nothing shows a secret

/** A registry where nothing works, and the way of somebody with a secret. */
interface Scene {
  readonly host: string
  readonly way: Way
  /** Those that come up while it runs. */
  readonly secrets: () => ReadonlyArray<string>
}

/** A registry behind a token server, with an image in it; then the fault is let loose. */
const scene = (
  fault: (request: Faults.Request) => Faults.Fault | undefined,
  tokenScript: TokenServer.Script = () => undefined
): Effect.Effect<Scene, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const faults = Faults.switchable()
    const tokens = yield* TokenServer.make({ users })
    const { host, url } = yield* startGuarded(tokens, { next: faults.onRequest })
    const way = yield* wayTo(url, ann)
    yield* seed(`${host}/team/app`, image, "1").pipe(Effect.provide(NodeRegistry.layer(way.options)))
    yield* faults.set(Faults.on({}, fault))
    yield* tokens.script(tokenScript)
    return { host, way, secrets: () => tokens.tokens().map(({ value }) => value) }
  })

const guarded = (guard: Faults.Hook): Effect.Effect<Scene, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const host = yield* startEmbedded({ onRequest: guard })
    return { host, way: yield* wayTo(`http://${host}`, ann), secrets: () => [] }
  })

/** A registry that names this realm. */
const withRealm = (realm: string) =>
  Effect.gen(function* () {
    const tokens = yield* TokenServer.make({ users })
    return yield* guarded(TokenServer.onRequest(tokens, { realm }))
  })

const isUpload = ({ method, path }: Faults.Request) => path.includes("/uploads/") && method !== "POST"
const isBlobRead = ({ method, path }: Faults.Request) => method === "GET" && path.includes("/blobs/sha256:")

const scenes: Readonly<Record<string, Effect.Effect<Scene, unknown, Scope.Scope>>> = {
  "a 401 to a password": guarded(TokenServer.onRequestBasic({ ann: "another" })),
  "a 401 of the token server": scene(
    () => Faults.respond(401),
    () => ({ status: 401 })
  ),
  "a 401 to a fresh token": Effect.gen(function* () {
    const tokens = yield* TokenServer.make({ users })
    const opened = yield* guarded(TokenServer.onRequest({ ...tokens, verify: () => undefined }))
    return { ...opened, secrets: () => tokens.tokens().map(({ value }) => value) }
  }),
  "a 403": scene(() => Faults.respond(403)),
  "a 500": scene(() => Faults.respond(500)),
  "a reset": scene(() => Faults.disconnect),
  "a reset of the token server": Effect.gen(function* () {
    const tokens = yield* TokenServer.make({ users })
    const proxy = yield* TcpProxy.make(tokens.url, () => TcpProxy.disconnect)
    return yield* withRealm(`${proxy.url}/token?secret=${needle}`)
  }),
  "a 403 of the token server": Effect.gen(function* () {
    const tokens = yield* TokenServer.make({ users, script: () => ({ status: 403, body: "no" }) })
    return yield* withRealm(tokens.realm)
  }),
  "a token that cannot be sent": Effect.gen(function* () {
    const tokens = yield* TokenServer.make({
      users,
      script: () => ({ status: 200, body: JSON.stringify({ token: `${needle}\r\nx: y` }) })
    })
    return yield* withRealm(tokens.realm)
  }),
  "a token answer that breaks off": Effect.gen(function* () {
    const tokens = yield* TokenServer.make({
      users,
      script: () => ({ status: 200, body: `{"token": "${needle}` })
    })
    return yield* withRealm(tokens.realm)
  }),
  "a token server with an unknown certificate": Effect.gen(function* () {
    const { server } = yield* Certificates.make
    const tokens = yield* TokenServer.make({ users, tls: server })
    return yield* withRealm(tokens.realm)
  }),
  "a realm with user info": withRealm(`http://ann:${needle}@127.0.0.1:1/token`),
  "a realm where nothing listens": withRealm(`http://127.0.0.1:1/token?key=${needle}`),
  "a signed redirect to where nothing listens": scene((request) =>
    isBlobRead(request)
      ? Faults.respond(307, { headers: { location: `http://127.0.0.1:1/blob?X-Signature=${needle}` } })
      : request.method === "GET"
        ? undefined
        : Faults.respond(500)
  ),
  "an upload whose state is signed": scene((request) => {
    if (request.method === "POST") {
      return Faults.respond(202, { headers: { location: `/v2/team/app/blobs/uploads/1?_state=${needle}` } })
    }
    return isUpload(request) || isBlobRead(request) ? Faults.respond(500) : undefined
  })
}

const needles = ({ secrets }: Scene): ReadonlyArray<string> => [
  needle,
  Buffer.from(`ann:${needle}`).toString("base64"),
  ...secrets()
]

const subject = { reason: "ServerError", operation: "x", method: "GET", url: "http://x", codes: [] } as const

const verbs = (host: string): Readonly<Record<string, Effect.Effect<unknown, unknown, NodeRegistry.Provided>>> => ({
  ping: ping(host),
  tags: listTags(`${host}/team/app`),
  push: seed(`${host}/team/other`, image, "1"),
  pull: copy(Registry.image(`${host}/team/app:1`), MemoryStore.make().target),
  blob: Stream.runDrain(getBlob(`${host}/team/app@${layerDigest}`)),
  tag: tag(`${host}/team/app:1`, "2"),
  delete: deleteTag(`${host}/team/app:1`)
})

/** Waits are a twentieth of what they are meant to be. */
const hurried: Clock.Clock = (() => {
  const real = Clock.make()
  return {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => real.unsafeCurrentTimeMillis(),
    unsafeCurrentTimeNanos: () => real.unsafeCurrentTimeNanos(),
    currentTimeMillis: real.currentTimeMillis,
    currentTimeNanos: real.currentTimeNanos,
    sleep: (duration) => real.sleep(Duration.times(duration, 1 / 20))
  }
})()

const showsNone = (evidence: Evidence, opened: Scene) => {
  assert.isAbove(evidence.pieces(), 10)
  for (const secret of needles(opened)) assert.deepStrictEqual(evidence.find(secret), [])
}

for (const [name, open] of Object.entries(scenes)) {
  describe(`after ${name}`, () => {
    it.scopedLive("the library shows no secret", () =>
      Effect.gen(function* () {
        const opened = yield* open
        const evidence = collect()
        const layer = NodeRegistry.layer({ ...opened.way.options, ...quick })
        let failed = 0
        for (const verb of Object.values(verbs(opened.host))) {
          if (Exit.isFailure(yield* evidence.of(verb).pipe(Effect.provide(layer)))) failed++
        }
        assert.isAtLeast(failed, 2)
        showsNone(evidence, opened)
      })
    )
    it.scopedLive("the command shows no secret", () =>
      Effect.gen(function* () {
        const opened = yield* open
        const evidence = collect()
        const file = join(yield* temporaryFolder, "pulled.tar")
        const { host, way } = opened
        let failed = 0
        for (const words of [
          ["tags", `${host}/team/app`],
          ["push", Fixture.archives.ociArchive, `${host}/team/other:1`, "--output", "json"],
          ["pull", `${host}/team/app:1`, file],
          ["inspect", `${host}/team/app:1`, "--output", "json"],
          ["delete", `${host}/team/app:1`]
        ]) {
          const run = ereg([...words, "--log-level", "all", ...way.words])
          const exit = yield* evidence.of(Effect.withClock(run, hurried))
          if (Exit.isFailure(exit)) assert.fail(String(exit.cause))
          else {
            if (exit.value.code !== 0) failed++
            evidence.add(`standard output of ${words[0]}`, exit.value.stdout)
            evidence.add(`standard error of ${words[0]}`, exit.value.stderr)
          }
        }
        assert.isAtLeast(failed, 2)
        showsNone(evidence, opened)
      })
    )
  })
}

describe("the search", () => {
  it.effect("finds a secret in a log, a span, the progress, an error and what caused it", () =>
    Effect.gen(function* () {
      const cause = Object.assign(new Error("failed"), { request: { headers: { authorization: needle } } })
      const shows: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
        log: Effect.logTrace("x").pipe(Effect.annotateLogs("token", needle)),
        span: Effect.void.pipe(Effect.withSpan("x", { attributes: { url: `http://x/?${needle}` } })),
        end: Effect.fail(needle).pipe(Effect.withSpan("x"), Effect.ignore),
        progress: Effect.map(Progress.Progress, ({ emit }) => emit({ _tag: "Warning", message: needle })),
        error: Effect.fail(new RegistryError({ ...subject, cause })),
        defect: Effect.die(new Error("x", { cause }))
      }
      for (const [name, effect] of Object.entries(shows)) {
        const evidence = collect()
        yield* evidence.of(effect)
        assert.isAbove(evidence.find(needle).length, 0, name)
      }
      const evidence = collect()
      yield* evidence.of(Effect.fail(Redacted.make(needle)).pipe(Effect.withSpan("x")))
      assert.deepStrictEqual(evidence.find(needle), [])
    })
  )
})

describe("after a failure of a credential helper", () => {
  it.scopedLive("the command shows no secret", () =>
    Effect.gen(function* () {
      const host = yield* startEmbedded({ onRequest: TokenServer.onRequestBasic({ ann: needle }) })
      const folder = yield* temporaryFolder
      const bin = join(folder, "bin")
      const file = yield* bundled
      const scripts = {
        garbage: `printf '{"Username":"ann","Secret":"${needle}"'`,
        fails: `printf '{"Username":"ann","Secret":"${needle}"}'; exit 3`,
        wrong: `printf '{"Username":"ann","Secret":"wrong-${needle}"}'`
      }
      yield* Effect.promise(async () => {
        await mkdir(bin)
        for (const [name, script] of Object.entries(scripts)) {
          const path = join(bin, `docker-credential-${name}`)
          await writeFile(path, `#!/bin/sh\ncat >/dev/null\n${script}\n`)
          await chmod(path, 0o755)
        }
      })
      for (const name of Object.keys(scripts)) {
        const config = JSON.stringify({ credHelpers: { [host]: name } })
        yield* Effect.promise(() => writeFile(join(folder, "config.json"), config))
        const words = ["tags", `${host}/team/app`, "--log-level", "all", "--output", "json"]
        const environment = {
          DOCKER_CONFIG: folder,
          HOME: folder,
          PATH: `${bin}${delimiter}${process.env.PATH ?? ""}`
        }
        const { ended } = yield* start(file, words, environment)
        const { code, stderr, stdout } = yield* ended
        assert.strictEqual(code, 1, name)
        assert.include(stdout, '"error"')
        assert.notInclude(stdout + stderr, needle)
      }
    })
  )
})

// ---- Authorization goes to the registry and to its realm

const withHeader = (host: string, way: Way): NodeRegistry.Options => ({
  ...way.options,
  ...quick,
  hosts: { [host]: { headers: { "x-key": Redacted.make(needle), cookie: `session=${needle}` } } }
})

/** Fails where a request carries anything that is meant for the registry alone. */
const heardNoSecret = (heard: ReadonlyArray<Heard>) => {
  for (const { headers, url } of heard) {
    for (const name of ["authorization", "cookie", "x-key"]) assert.notProperty(headers, name, url)
    assert.notInclude(JSON.stringify([headers, url]), needle)
  }
}

/** A registry with passwords or tokens, an image in it, and a hook that leads elsewhere once all is prepared. */
const leading = (kind: "Basic" | "Bearer", hook: (request: Faults.Request) => Faults.Fault | undefined) =>
  Effect.gen(function* () {
    const { onRequest: next, set } = Faults.switchable()
    const tokens = yield* TokenServer.make({ users })
    const onRequest =
      kind === "Basic" ? TokenServer.onRequestBasic({ ann: needle }, { next }) : TokenServer.onRequest(tokens, { next })
    const host = yield* startEmbedded({ onRequest })
    const layer = NodeRegistry.layer(withHeader(host, yield* wayTo(`http://${host}`, ann)))
    yield* seed(`${host}/team/app`, image, "1").pipe(Effect.provide(layer))
    yield* set(Faults.on({}, hook))
    return { host, layer, tokens }
  })

for (const kind of ["Basic", "Bearer"] as const) {
  describe(`credentials of a registry with ${kind} authentication`, () => {
    it.scopedLive("do not follow a blob to another origin", () =>
      Effect.gen(function* () {
        const store = yield* record(({ url }) => {
          const digest = new URL(url, "http://x").searchParams.get("digest")
          const [, bytes] = [...image.blobs].find(([each]) => each === digest) ?? []
          return bytes === undefined ? { status: 404 } : { status: 200, body: bytes }
        })
        const { host, layer } = yield* leading(kind, (request) =>
          isBlobRead(request)
            ? Faults.respond(307, {
                headers: { location: `${store.url}/blob?digest=${request.path.split("/").pop()}` }
              })
            : undefined
        )
        const copied = MemoryStore.make()
        yield* copy(Registry.image(`${host}/team/app:1`), copied.target).pipe(Effect.provide(layer))
        for (const [digest, bytes] of image.blobs) assert.deepStrictEqual(copied.blobs.get(digest), bytes)
        assert.strictEqual(store.heard().length, image.blobs.size)
        heardNoSecret(store.heard())
      })
    )
    it.scopedLive("do not follow an upload's Location, nor answer a challenge there", () =>
      Effect.gen(function* () {
        for (const refuses of [false, true]) {
          let realm = ""
          const store = yield* record(() =>
            refuses
              ? {
                  status: 401,
                  headers: { "www-authenticate": `${kind} realm="${realm}",scope="repository:team/other:pull,push"` }
                }
              : { status: 201 }
          )
          const { host, layer, tokens } = yield* leading(kind, (request) =>
            request.method === "POST"
              ? Faults.respond(202, { headers: { location: `${store.url}/upload?sig=1` } })
              : undefined
          )
          realm = tokens.realm
          const writer = Registry.repository(`${host}/team/other`).open.pipe(
            Effect.flatMap(({ writeBlob }) => {
              const bytes = new Uint8Array(1000).fill(refuses ? 1 : 2)
              const descriptor = { mediaType: "a/b", digest: Digest.fromBytes(bytes), size: bytes.length }
              return writeBlob({
                descriptor: Option.some(descriptor),
                mediaType: "a/b",
                content: Effect.succeed({ _tag: "Bytes" as const, bytes }),
                alsoIn: []
              })
            })
          )
          const exit = yield* Effect.exit(Effect.scoped(writer).pipe(Effect.provide(layer)))
          assert.strictEqual(Exit.isSuccess(exit), !refuses)
          assert.deepStrictEqual(
            tokens.requests().filter(({ grant }) => grant === "anonymous"),
            []
          )
          assert.isAtLeast(store.heard().length, 1)
          heardNoSecret(store.heard())
        }
      })
    )
    it.scopedLive("do not follow a redirected upload", () =>
      Effect.gen(function* () {
        const store = yield* record(() => ({ status: 500 }))
        const { host, layer } = yield* leading(kind, (request) =>
          isUpload(request) && request.method !== "DELETE"
            ? Faults.respond(307, { headers: { location: `${store.url}/put` } })
            : undefined
        )
        yield* Effect.flip(seed(`${host}/team/other`, image, "1").pipe(Effect.provide(layer)))
        assert.isAtLeast(store.heard().length, 1)
        heardNoSecret(store.heard())
      })
    )
    it.scopedLive("do not follow a Link, which is refused", () =>
      Effect.gen(function* () {
        const other = yield* record(() => ({ status: 200, body: '{"tags":["stolen"]}' }))
        const { host, layer } = yield* leading(kind, ({ path }) =>
          path.endsWith("/tags/list")
            ? Faults.respond(200, {
                headers: { link: `<${other.url}/v2/team/app/tags/list?last=a>; rel="next"` },
                body: '{"name":"team/app","tags":["a"]}'
              })
            : undefined
        )
        const error = yield* Effect.flip(listTags(`${host}/team/app`).pipe(Effect.provide(layer)))
        assert.strictEqual(error.reason, "UnsafeUrl")
        assert.deepStrictEqual(other.heard(), [])
      })
    )
  })
}

describe("a token", () => {
  const challenge = (tokens: TokenServer.TokenServerService, repository = "team/app") =>
    `Bearer realm="${tokens.realm}",service="${tokens.service}",scope="repository:${repository}:pull"`
  /** A registry with its token server, and one that would like to have its tokens. */
  const hostile = Effect.gen(function* () {
    const tokens = yield* TokenServer.make({ users, anonymous: { "repository:*": ["pull"] } })
    const good = yield* startGuarded(tokens)
    const evil = yield* record(({ headers }) =>
      headers.authorization === undefined
        ? { status: 401, headers: { "www-authenticate": challenge(tokens) } }
        : { status: 403 }
    )
    return { tokens, good, evil }
  })
  const accountsAt = (tokens: TokenServer.TokenServerService, heard: ReadonlyArray<Heard>) =>
    heard.flatMap(({ headers }) => {
      const value = headers.authorization?.replace("Bearer ", "")
      return value === undefined ? [] : [tokens.tokens().find((token) => token.value === value)?.account]
    })

  it.scopedLive("of one registry is not given to another that names the same realm", () =>
    Effect.gen(function* () {
      const { evil, good, tokens } = yield* hostile
      const credentials = Credentials.make({ [good.host]: Credentials.password("ann", Redacted.make(needle)) })
      yield* Effect.gen(function* () {
        yield* seed(`${good.host}/team/app`, image, "1")
        yield* getManifest(`${good.host}/team/app:1`)
        const error = yield* Effect.flip(getManifest(`${evil.host}/team/app:1`))
        assert.strictEqual(error.reason, "Denied")
      }).pipe(Effect.provide(NodeRegistry.layer({ ...quick, credentials })))
      // What it got is what anybody gets.
      assert.deepStrictEqual(accountsAt(tokens, evil.heard()), [""])
    })
  )
  it.scopedLive("of one registry is not given to another that it leads to", () =>
    Effect.gen(function* () {
      const { evil, tokens } = yield* hostile
      const next = Faults.on(isBlobRead, Faults.redirect(`${evil.url}/v2/team/app/blobs/x`))
      const { host } = yield* startGuarded(tokens, { next })
      const credentials = Credentials.make({ [host]: Credentials.password("ann", Redacted.make(needle)) })
      const blob = Stream.runDrain(getBlob(`${host}/team/app@${layerDigest}`))
      yield* Effect.flip(blob.pipe(Effect.provide(NodeRegistry.layer({ ...quick, credentials }))))
      for (const account of accountsAt(tokens, evil.heard())) assert.strictEqual(account, "")
      assert.notInclude(JSON.stringify(evil.heard()), needle)
    })
  )
  it.scopedLive("is asked for what the operation needs, whatever the registry asks for", () =>
    Effect.gen(function* () {
      const { tokens } = yield* hostile
      const greedy = yield* record(() => ({
        status: 401,
        headers: { "www-authenticate": `${challenge(tokens, "team/app")} repository:private/app:pull,push` }
      }))
      const asking = yield* record(() => ({
        status: 401,
        headers: { "www-authenticate": challenge(tokens, "private/app") }
      }))
      for (const { host } of [greedy, asking]) {
        const credentials = Credentials.make({ [host]: Credentials.password("ann", Redacted.make(needle)) })
        yield* Effect.flip(
          getManifest(`${host}/team/app:1`).pipe(Effect.provide(NodeRegistry.layer({ ...quick, credentials })))
        )
      }
      assert.isAtLeast(tokens.requests().length, 2)
      for (const { scopes } of tokens.requests()) assert.notInclude(scopes.join(" "), "private/app")
    })
  )
  it.scopedLive("is not fetched from a realm that changes in mid-run", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users })
      const thief = yield* record(() => ({ status: 200, body: '{"token":"x"}' }))
      let realm = tokens.realm
      let writes = 0
      const next: Faults.Hook = (request) =>
        Effect.suspend(() => {
          if (!isUpload(request) || ++writes !== 2) return Effect.succeed(undefined)
          realm = `${thief.url}/token`
          return Effect.as(tokens.revoke, undefined)
        })
      const { host } = yield* startGuarded(tokens, { realm: () => realm, next })
      const credentials = Credentials.make({ [host]: Credentials.password("ann", Redacted.make(needle)) })
      const error = yield* Effect.flip(
        seed(`${host}/team/app`, image, "1").pipe(Effect.provide(NodeRegistry.layer({ ...quick, credentials })))
      )
      assert.strictEqual(error.reason, "UnsafeUrl")
      assert.match(error.message, /another token server/)
      assert.deepStrictEqual(thief.heard(), [])
    })
  )
  it.scopedLive("is not fetched from where the token server leads to", () =>
    Effect.gen(function* () {
      const thief = yield* record(() => ({ status: 200, body: '{"token":"x"}' }))
      for (const status of [302, 307, 308]) {
        const script = () => ({ status, headers: { location: `${thief.url}/token` } })
        const tokens = yield* TokenServer.make({ users, script })
        const { host } = yield* startGuarded(tokens)
        const credentials = Credentials.make({ [host]: Credentials.password("ann", Redacted.make(needle)) })
        yield* Effect.flip(ping(host).pipe(Effect.provide(NodeRegistry.layer({ ...quick, credentials }))))
      }
      assert.deepStrictEqual(thief.heard(), [])
    })
  )
  const credentials = Credentials.layer({ "r.example": Credentials.password("ann", Redacted.make(needle)) })
  const forbidden = {
    "http://127.0.0.1/token": /HTTPS to HTTP/,
    "https://127.0.0.1/token": /loopback/,
    "https://10.1.2.3/token": /private/,
    "https://192.168.0.1/token": /private/,
    "https://169.254.169.254/latest/meta-data": /link-local/,
    "https://[::1]:8443/token": /loopback/,
    "http://auth.example/token": /HTTPS to HTTP/,
    "https://ann:x@auth.example/token": /user info/,
    "file:///etc/passwd": /scheme/
  }
  for (const [realm, why] of Object.entries(forbidden)) {
    it.effect(`of a public registry is not fetched from ${realm}`, () => {
      const header = `Bearer realm="${realm}",service="s"`
      const script = Scripted.inOrder([{ status: 401, headers: { "www-authenticate": header } }])
      return Effect.gen(function* () {
        const error = yield* Effect.flip(getManifest("r.example/app:1"))
        assert.strictEqual(error.reason, "UnsafeUrl")
        assert.match(error.message, why)
        assert.strictEqual(script.seen.length, 1)
      }).pipe(Effect.provide(script.layer), Effect.provide(credentials))
    })
  }
})
