import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import {
  Credentials,
  copy,
  deleteImageByDigest,
  deleteTag,
  getImageInfo,
  listRepositories,
  listTags,
  MemoryStore,
  ping,
  pull,
  push,
  Registry,
  tag
} from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { Faults, TokenServer } from "@effect-registry/server"
import { DockerArchive } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { bundled, ereg, errorOf, output, start } from "../../cli/test/support.js"
import { Fixture, TcpProxy, Tools, Walk } from "../src/index.js"
import { inMemory, seed } from "./support/seed.js"
import { type Closed, type Secured, secured, startGuarded, temporaryFolder, type Way } from "./support/servers.js"

const archive = Fixture.archives.docker26Multi
const { docker26App } = Fixture.known.configs

// The command in this process would look for files of whoever runs the tests.
beforeAll(() => {
  for (const name of ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "DOCKER_CONFIG"]) {
    vi.stubEnv(name, "/nonexistent")
  }
})
afterAll(() => void vi.unstubAllEnvs())

/** Every verb once, by the library. */
const useLibrary = (host: string) =>
  Effect.gen(function* () {
    const file = join(yield* temporaryFolder, "pulled.tar")
    assert.strictEqual((yield* ping(host)).host, host)
    const { images } = yield* push(DockerArchive.file(archive))
    assert.strictEqual(images.length, 4)
    const digest = Option.getOrThrow(Option.fromNullable(images[0])).digest
    yield* pull(`${host}/fixture/app:1.0`, DockerArchive.target(file))
    assert.strictEqual((yield* Walk.dockerArchive(file))[0]?.config, docker26App)
    const { blobs } = yield* copy(Registry.image(`${host}/fixture/app:1.0`), Registry.repository(`${host}/copied/app`))
    assert.deepStrictEqual([blobs.sent, blobs.mounted > 0], [0, true])
    const repositories = ["copied/app", "fixture/app", "fixture/web", "team/web"]
    assert.deepStrictEqual(yield* listRepositories(host), repositories)
    assert.strictEqual((yield* getImageInfo(`${host}/copied/app:1.0`)).configDigest, docker26App)
    yield* tag(`${host}/copied/app:1.0`, "2.0")
    assert.deepStrictEqual(yield* listTags(`${host}/copied/app`), ["1.0", "2.0"])
    yield* deleteTag(`${host}/copied/app:1.0`)
    assert.deepStrictEqual(yield* listTags(`${host}/copied/app`), ["2.0"])
    yield* deleteImageByDigest(`${host}/copied/app@${digest}`, { shared: "delete" })
    assert.strictEqual((yield* Effect.flip(getImageInfo(`${host}/copied/app@${digest}`))).reason, "NotFound")
  })

/** Every verb once, by the command. */
const useCommand = (host: string, words: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const file = join(yield* temporaryFolder, "pulled.tar")
    const run = (...command: ReadonlyArray<string>) =>
      Effect.map(output([...command, ...words]), (text) => text.split("\n").slice(0, -1))
    const copied = `${host}/copied/app`
    assert.strictEqual((yield* run("ping", host)).length, 1)
    const pushed = yield* run("push", archive, "--registry", host)
    assert.strictEqual(pushed.length, 4)
    yield* run("pull", `${host}/fixture/app:1.0`, file)
    assert.strictEqual((yield* Walk.dockerArchive(file))[0]?.config, docker26App)
    assert.strictEqual((yield* run("copy", `${host}/fixture/app:1.0`, `${copied}:1.0`)).length, 1)
    assert.deepStrictEqual(yield* run("list", host), ["copied/app", "fixture/app", "fixture/web", "team/web"])
    assert.include((yield* run("inspect", `${copied}:1.0`)).join("\n"), docker26App)
    const [digest = ""] = yield* run("digest", `${copied}:1.0`)
    assert.isTrue(pushed[0]?.endsWith(digest))
    yield* run("tag", `${copied}:1.0`, "2.0")
    assert.deepStrictEqual(yield* run("tags", copied), ["1.0", "2.0"])
    yield* run("delete", `${copied}:1.0`)
    assert.deepStrictEqual(yield* run("tags", copied), ["2.0"])
    yield* run("delete", "--force", `${copied}@${digest}`)
    const gone = yield* ereg(["inspect", `${copied}@${digest}`, "--output", "json", ...words])
    assert.deepInclude(errorOf(gone.stdout), { tag: "RegistryError", reason: "NotFound" })
  })

const behaviours = (open: (typeof secured)[Closed]) => {
  it.scopedLive("lets the library do everything", () =>
    Effect.gen(function* () {
      const { host, way } = yield* open
      yield* useLibrary(host).pipe(Effect.provide(NodeRegistry.layer(way.options)))
    })
  )
  it.scopedLive("lets the command do everything", () =>
    Effect.gen(function* () {
      const { host, way } = yield* open
      yield* useCommand(host, way.words)
    })
  )
  it.scopedLive("refuses everybody else, with a hint what to do", () =>
    Effect.gen(function* () {
      const { host, strangers, url } = yield* open
      for (const stranger of strangers) yield* refused(host, url, stranger)
    })
  )
}

interface Failure {
  readonly _tag: string
  readonly reason: string
  readonly hint?: string | undefined
}

const refused = (host: string, url: string, { hint, name, reason, way }: Secured["strangers"][number]) =>
  Effect.gen(function* () {
    const tasks: Readonly<Record<string, Effect.Effect<unknown, Failure, NodeRegistry.Provided>>> = {
      ping: ping(host),
      push: push(DockerArchive.file(archive), []),
      list: listRepositories(host),
      tags: listTags(`${host}/fixture/app`)
    }
    for (const [verb, task] of Object.entries(tasks)) {
      const error = yield* Effect.flip(task.pipe(Effect.provide(NodeRegistry.layer(way.options))))
      assert.deepStrictEqual([error._tag, error.reason], ["RegistryError", reason], `${verb} by ${name}`)
      // What the command says about certificates names its options.
      if (reason !== "Tls") assert.match(String(error.hint), hint, `${verb} by ${name}`)
    }
    const { code, stdout } = yield* ereg(["tags", "fixture/app", "--registry", url, "--output", "json", ...way.words])
    assert.strictEqual(code, 1)
    const error = errorOf(stdout)
    assert.deepInclude(error, { tag: "RegistryError", reason })
    assert.match(String(error.hint), hint)
  })

const onDocker = Tools.needing(describe, "docker-registry")
for (const [name, open] of Object.entries(secured)) onDocker(`docker-registry ${name}`, () => behaviours(open))

onDocker("docker-registry behind a token server", () => {
  it.scopedLive("refuses a writer who may only read", () =>
    Effect.gen(function* () {
      const { host, reader, way } = yield* secured["behind a token server"]
      const by = (who: Way | undefined) => Effect.provide(NodeRegistry.layer(who?.options))
      yield* push(DockerArchive.file(archive)).pipe(by(way))
      assert.deepStrictEqual(yield* listTags(`${host}/fixture/app`).pipe(by(reader)), ["1.0", "latest"])
      const error = yield* Effect.flip(tag(`${host}/fixture/app:1.0`, "3.0").pipe(by(reader)))
      assert.include(["Denied", "Unauthorized"], error.reason)
      assert.match(String(error.hint), /"bob"/)
    })
  )
})

onDocker("the command as a process", () => {
  it.scopedLive("finds credentials and certificates by its environment", () =>
    Effect.gen(function* () {
      const file = yield* bundled
      for (const name of ["with htpasswd", "with TLS and a private authority", "with mutual TLS"] as const) {
        const { host, way } = yield* secured[name]
        const { ended } = yield* start(file, ["push", archive, "--registry", host, "--primary"], way.environment)
        const { code, stderr, stdout } = yield* ended
        assert.strictEqual(code, 0, `${name}: ${stderr}`)
        assert.include(stdout, `${host}/fixture/app:1.0@sha256:`)
      }
    })
  )
  it.scopedLive("says how to log in where several requests are refused at once", () =>
    Effect.gen(function* () {
      const file = yield* bundled
      const { host } = yield* secured["with htpasswd"]
      // A new process each time: only the slow first requests of one meet as they must to do harm to each other.
      for (let time = 0; time < 3; time++) {
        const { ended } = yield* start(file, ["push", archive, "--registry", host, "--no-cache"])
        const { code, stderr } = yield* ended
        assert.strictEqual(code, 1)
        assert.include(stderr, `ereg login ${host}`)
        assert.notInclude(stderr, "Unhandled")
      }
    })
  )
})

// ---- the embedded registry behind tokens that only their server understands

const secret = "secret-of-ann"
const users = { ann: { password: secret } }
const quick = { retry: { delay: "1 millis", maxDelay: "2 millis" }, state: false } as const
const withPassword = (host: string, extra: NodeRegistry.Options = {}) =>
  NodeRegistry.layer({
    ...quick,
    ...extra,
    credentials: Credentials.make({ [host]: Credentials.password("ann", Redacted.make(secret)) })
  })

const image = Fixture.image({ layers: 10, size: 2000 })
const small = Fixture.image({ layers: 1, size: 2000 })

/** The image in memory. */
const source = (image: Fixture.ImageFixture) => Effect.map(inMemory(image), (store) => store.source("1"))

/** Fails unless the whole image can be read there. */
const isWhole = (reference: string, image: Fixture.ImageFixture) =>
  Effect.gen(function* () {
    const store = MemoryStore.make()
    yield* copy(Registry.image(reference), store.target)
    for (const [digest, bytes] of image.blobs) assert.deepStrictEqual(store.blobs.get(digest), bytes)
  })

const isBlobWrite = ({ method, path }: Faults.Request) => path.includes("/blobs/uploads/") && method !== "POST"

/** Of each set of scopes, the milliseconds between one token and the next. */
const gaps = (requests: ReadonlyArray<TokenServer.TokenRequest>): ReadonlyArray<number> => {
  const byScopes = new Map<string, Array<number>>()
  for (const { at, scopes } of requests) {
    const key = scopes.join(" ")
    byScopes.set(key, [...(byScopes.get(key) ?? []), at])
  }
  return [...byScopes.values()].flatMap((times) => times.slice(1).map((time, index) => time - (times[index] ?? 0)))
}

describe("the embedded registry behind a token server", () => {
  it.scopedLive("gives concurrent requests one token between them", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users, expiresIn: 300 })
      const { exchanges, host } = yield* startGuarded(tokens)
      yield* copy(yield* source(image), Registry.repository(`${host}/team/app`)).pipe(
        Effect.provide(withPassword(host))
      )
      assert.deepStrictEqual(
        tokens.requests().map(({ grant, scopes }) => [grant, scopes]),
        [["password", ["repository:team/app:pull,push"]]]
      )
      // Those that left before the first challenge came back are refused, and nothing after them.
      const refusals = (yield* exchanges).filter(({ status }) => status === 401)
      assert.isAtMost(refusals.length, 5)
      yield* isWhole(`${host}/team/app:1`, image).pipe(Effect.provide(withPassword(host)))
    })
  )
  it.scopedLive("renews a token of one second while blobs are sent, before it ends", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users, expiresIn: 1 })
      const next = (request: Faults.Request) => Effect.succeed(isBlobWrite(request) ? Faults.delay(400) : undefined)
      const { exchanges, host } = yield* startGuarded(tokens, { next })
      const layer = withPassword(host)
      const target = Registry.repository(`${host}/team/app`)
      yield* copy(yield* source(image), target, { concurrency: 2 }).pipe(Effect.provide(layer))
      assert.isAtLeast(tokens.requests().length, 3)
      for (const gap of gaps(tokens.requests())) assert.isAtLeast(gap, 700)
      const authorized = (yield* exchanges).filter(({ headers }) => headers.authorization !== undefined)
      const late = authorized.filter(({ status }) => status === 401)
      assert.isAtMost(late.length, 1)
      yield* isWhole(`${host}/team/app:1`, image).pipe(Effect.provide(layer))
    })
  )
  it.scopedLive("replaces a token that ended without warning once for all who had it", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users })
      let writes = 0
      const next = (request: Faults.Request) =>
        Effect.suspend(() =>
          isBlobWrite(request) && ++writes === 4 ? Effect.as(tokens.revoke, undefined) : Effect.succeed(undefined)
        )
      const { exchanges, host } = yield* startGuarded(tokens, { next })
      yield* copy(yield* source(image), Registry.repository(`${host}/team/app`)).pipe(
        Effect.provide(withPassword(host))
      )
      assert.strictEqual(tokens.requests().length, 2)
      const stale = (yield* exchanges).filter(
        ({ headers, status }) => status === 401 && headers.authorization !== undefined
      )
      assert.isAtLeast(stale.length, 1)
      yield* isWhole(`${host}/team/app:1`, image).pipe(Effect.provide(withPassword(host)))
    })
  )
  it.scopedLive("uploads where the token server grants one scope and a mount needs two", () =>
    Effect.gen(function* () {
      for (const oneScope of [true, false]) {
        const tokens = yield* TokenServer.make({ users, oneScope, expiresIn: 300 })
        const { exchanges, host } = yield* startGuarded(tokens)
        const layer = withPassword(host)
        yield* seed(`${host}/team/app`, image, "1").pipe(Effect.provide(layer))
        const { blobs } = yield* copy(
          Registry.image(`${host}/team/app:1`),
          Registry.repository(`${host}/team/twin`)
        ).pipe(Effect.provide(layer))
        const all = image.blobs.size
        assert.deepStrictEqual([blobs.sent, blobs.mounted], oneScope ? [all, 0] : [0, all])
        yield* isWhole(`${host}/team/twin:1`, image).pipe(Effect.provide(layer))
        if (oneScope)
          assert.isTrue((yield* exchanges).some(({ query, status }) => query.includes("mount") && status === 401))
      }
    })
  )
  it.scopedLive("uploads where the other repository may not be read", () =>
    Effect.gen(function* () {
      const may = { "repository:team/*": ["pull", "push"] }
      const tokens = yield* TokenServer.make({ users: { ann: { password: secret, may } } })
      const { host } = yield* startGuarded(tokens)
      const layer = withPassword(host)
      const writer = yield* Registry.repository(`${host}/team/app`).open.pipe(Effect.provide(layer))
      for (const [digest, bytes] of image.blobs) {
        const descriptor = { mediaType: "application/octet-stream", digest, size: bytes.length }
        const { outcome } = yield* writer
          .writeBlob({
            descriptor: Option.some(descriptor),
            mediaType: descriptor.mediaType,
            content: Effect.succeed({ _tag: "Bytes", bytes }),
            alsoIn: ["private/app"]
          })
          .pipe(Effect.provide(layer))
        assert.strictEqual(outcome, "Sent")
      }
    })
  )
  it.scopedLive("takes an identity token", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users, identityTokens: { "identity-of-ann": "ann" } })
      const { host } = yield* startGuarded(tokens)
      const token = Redacted.make("identity-of-ann")
      const layer = NodeRegistry.layer({
        ...quick,
        credentials: Credentials.make({ [host]: { _tag: "IdentityToken", token } })
      })
      yield* seed(`${host}/team/app`, image, "1").pipe(Effect.provide(layer))
      assert.deepStrictEqual([...new Set(tokens.requests().map(({ grant }) => grant))], ["refresh_token"])
    })
  )
  it.scopedLive("sends a registry token as it is", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users })
      const { host } = yield* startGuarded(tokens)
      const body = new URLSearchParams({
        service: tokens.service,
        grant_type: "password",
        username: "ann",
        password: secret,
        scope: "repository:team/app:pull,push"
      })
      const answer = yield* Effect.promise(async () => (await fetch(tokens.realm, { method: "POST", body })).json())
      const token = Redacted.make(String(answer.access_token))
      const credentials = Credentials.make({ [host]: { _tag: "RegistryToken", token } })
      yield* seed(`${host}/team/app`, image, "1").pipe(Effect.provide(NodeRegistry.layer({ ...quick, credentials })))
      assert.strictEqual(tokens.requests().length, 1)
    })
  )
  it.scopedLive("reads with an anonymous token", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users, anonymous: { "repository:*": ["pull"] }, field: "access_token" })
      const { host } = yield* startGuarded(tokens)
      yield* seed(`${host}/team/app`, image, "1").pipe(Effect.provide(withPassword(host)))
      const anonymous = NodeRegistry.layer({ ...quick, credentials: Credentials.none })
      yield* isWhole(`${host}/team/app:1`, image).pipe(Effect.provide(anonymous))
      const error = yield* Effect.flip(tag(`${host}/team/app:1`, "2").pipe(Effect.provide(anonymous)))
      assert.strictEqual(error.reason, "Unauthorized")
      assert.match(String(error.hint), /ereg login/)
    })
  )
  for (const status of [401, 404, 405]) {
    it.scopedLive(`asks by GET where POST is answered by ${status}, from then on`, () =>
      Effect.gen(function* () {
        const tokens = yield* TokenServer.make({ users, refusePost: status })
        const { host } = yield* startGuarded(tokens)
        yield* Effect.forEach(["team/a", "team/b"], (name) => seed(`${host}/${name}`, image, "1")).pipe(
          Effect.provide(withPassword(host))
        )
        const [first, ...others] = tokens.requests().map(({ grant }) => grant)
        assert.strictEqual(first, "password")
        assert.isAtLeast(others.length, 2)
        assert.deepStrictEqual([...new Set(others)], ["basic"])
      })
    )
  }
})

describe("a token server that fails", () => {
  const faults: Readonly<Record<string, TcpProxy.Fault>> = {
    "a reset": TcpProxy.disconnect,
    "a lost answer": TcpProxy.cutResponse(0),
    "an answer that breaks off": TcpProxy.truncateResponse(5),
    "a 429": TcpProxy.respond(429, { "retry-after": "0" }),
    "a 500": TcpProxy.respond(500),
    "a 503": TcpProxy.respond(503, { "retry-after": "0" })
  }
  for (const refusePost of [undefined, 404]) {
    for (const [name, fault] of Object.entries(faults)) {
      const how = refusePost === undefined ? "" : " that knows only GET"
      it.scopedLive(`stops no push and no pull by ${name} at any request to a server${how}`, () =>
        Effect.gen(function* () {
          // Short-lived, so that there are several requests.
          const tokens = yield* TokenServer.make({ users, expiresIn: 0, lifetime: 60, refusePost })
          const store = yield* source(small)
          let requests = 1
          for (let at = 0; at < Math.min(requests, 6); at++) {
            const proxy = yield* TcpProxy.make(tokens.url, ({ index }) => (index === at ? fault : undefined))
            const { host } = yield* startGuarded(tokens, { realm: `${proxy.url}/token` })
            yield* Effect.gen(function* () {
              yield* copy(store, Registry.repository(`${host}/team/app`))
              yield* isWhole(`${host}/team/app:1`, small)
            }).pipe(Effect.provide(withPassword(host)))
            assert.strictEqual(proxy.struck(), 1)
            requests = proxy.requests().length
          }
        })
      )
    }
  }
  const replies: Readonly<Record<string, readonly [TokenServer.Reply, reason: string, message: RegExp]>> = {
    "no JSON": [{ status: 200, body: "<html>" }, "Protocol", /sent no token/],
    "no token": [{ status: 200, body: "{}" }, "Protocol", /sent no token/],
    "a token that is no header": [{ status: 200, body: '{"token":"a\\r\\nb"}' }, "Protocol", /sent no token/],
    "an answer of 2 MiB": [{ status: 200, body: `{"token":"${"a".repeat(2 << 20)}"}` }, "TooLarge", /at most 1048576/],
    "a 500 for ever": [{ status: 500 }, "ServerError", /get a token/],
    "a 403 for ever": [{ status: 403 }, "Denied", /get a token/],
    "a redirect elsewhere": [{ status: 307, headers: { location: "http://127.0.0.1:9/" } }, "UnsafeUrl", /another one/]
  }
  for (const [name, [reply, reason, message]] of Object.entries(replies)) {
    it.scopedLive(`ends a push with ${reason} by ${name}`, () =>
      Effect.gen(function* () {
        const tokens = yield* TokenServer.make({ users, script: () => reply })
        const { exchanges, host } = yield* startGuarded(tokens)
        const error = yield* Effect.flip(
          copy(yield* source(small), Registry.repository(`${host}/team/app`)).pipe(Effect.provide(withPassword(host)))
        )
        assert.strictEqual(error.reason, reason)
        assert.match(error.message, message)
        assert.isTrue((yield* exchanges).every(({ status }) => status === 401))
      })
    )
  }
})
