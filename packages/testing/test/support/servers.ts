import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Credentials } from "@effect-registry/core"
import type { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults, TokenServer } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Certificates, DockerRegistry } from "../../src/index.js"

/** The host of a docker-registry of its own. */
export const startDocker = (options?: DockerRegistry.Options) =>
  Effect.map(DockerRegistry.make(options), ({ host }) => host)

/** The host of an embedded registry of its own. */
export const startEmbedded = (options: EmbeddedRegistry.Options = {}) =>
  Effect.map(EmbeddedRegistry.makeMemory(options), ({ host }) => host)

/** An embedded registry that takes the server's tokens and no others, and what it was asked. */
export const startGuarded = (tokens: TokenServer.TokenServerService, options: Guard = {}) =>
  Effect.gen(function* () {
    const recorder = Faults.recorder()
    const onRequest = TokenServer.onRequest(tokens, options)
    const host = yield* startEmbedded({ onRequest, observe: recorder.observe })
    return { host, url: `http://${host}`, exchanges: recorder.exchanges }
  })

type Guard = NonNullable<Parameters<typeof TokenServer.onRequest>[1]>

/** A folder that goes with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "testing-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
)

// ---- registries that ask who is there

/** How somebody gets in: by options of the library, and by words and environment of the command. */
export interface Way {
  readonly options: NodeRegistry.Options
  readonly words: ReadonlyArray<string>
  readonly environment: Readonly<Record<string, string>>
}

export interface Secured {
  readonly url: string
  readonly host: string
  readonly way: Way
  /** Of those who are not let in, and what they are told. */
  readonly strangers: ReadonlyArray<{
    readonly name: string
    readonly way: Way
    readonly reason: string
    readonly hint: RegExp
  }>
  /** Who may read and not write, where there is such. */
  readonly reader?: Way
}

export type Login = readonly [name: string, password: string]

const ann: Login = ["ann", "secret-of-ann"]
const bob: Login = ["bob", "secret-of-bob"]
const wrong: Login = ["ann", "not-the-secret"]

/** The way in with this password and these certificates. */
export const wayTo = (
  url: string,
  login: Login | undefined,
  certificates?: Certificates.Certificates,
  withClient = false
) =>
  Effect.gen(function* () {
    const { host } = new URL(url)
    const folder = yield* temporaryFolder
    const auths =
      login === undefined ? {} : { [host]: { auth: Buffer.from(`${login[0]}:${login[1]}`).toString("base64") } }
    const docker = join(folder, "docker")
    yield* Effect.promise(async () => {
      await mkdir(docker)
      await writeFile(join(docker, "config.json"), JSON.stringify({ auths }), { mode: 0o600 })
    })
    const config = join(folder, "config")
    const certsD = join(config, "containers/certs.d")
    if (certificates !== undefined) yield* Certificates.writeCertsD(certsD, host, { client: withClient })
    const entries = login === undefined ? {} : { [host]: Credentials.password(login[0], Redacted.make(login[1])) }
    const client = withClient ? certificates?.client : undefined
    const way: Way = {
      options: {
        url,
        credentials: Credentials.make(entries),
        state: false,
        ...(certificates === undefined ? {} : { tls: { hosts: { [host]: { ca: certificates.ca, ...client } } } })
      },
      words: [
        "--authfile",
        join(docker, "config.json"),
        ...(certificates === undefined ? [] : ["--cert-dir", join(certsD, host)])
      ],
      environment: { DOCKER_CONFIG: docker, XDG_CONFIG_HOME: config, HOME: folder }
    }
    return way
  })

const passwordHint = /ereg login/

export type Closed = "with htpasswd" | "with TLS and a private authority" | "with mutual TLS" | "behind a token server"

/** docker-registry in each of the ways that it can be closed. */
export const secured: Readonly<Record<Closed, Effect.Effect<Secured, never, Scope.Scope>>> = {
  "with htpasswd": Effect.gen(function* () {
    const { host, url } = yield* DockerRegistry.make({ users: Object.fromEntries([ann, bob]) })
    return {
      host,
      url,
      way: yield* wayTo(url, ann),
      strangers: [
        { name: "nobody", way: yield* wayTo(url, undefined), reason: "Unauthorized", hint: passwordHint },
        { name: "a wrong password", way: yield* wayTo(url, wrong), reason: "Unauthorized", hint: /"ann"/ }
      ]
    }
  }),
  "with TLS and a private authority": Effect.gen(function* () {
    const certificates = yield* Certificates.make
    const { host, url } = yield* DockerRegistry.make({ tls: certificates.server, users: Object.fromEntries([ann]) })
    return {
      host,
      url,
      way: yield* wayTo(url, ann, certificates),
      strangers: [
        {
          name: "who does not know the authority",
          way: yield* wayTo(url, ann),
          reason: "Tls",
          hint: /--cert-dir/
        },
        {
          name: "a wrong password",
          way: yield* wayTo(url, wrong, certificates),
          reason: "Unauthorized",
          hint: /"ann"/
        }
      ]
    }
  }),
  "with mutual TLS": Effect.gen(function* () {
    const certificates = yield* Certificates.make
    const { host, url } = yield* DockerRegistry.make({ tls: certificates.server, clientCa: certificates.ca })
    return {
      host,
      url,
      way: yield* wayTo(url, undefined, certificates, true),
      strangers: [
        {
          name: "who has no certificate",
          way: yield* wayTo(url, undefined, certificates),
          reason: "Tls",
          hint: /--cert-dir/
        }
      ]
    }
  }),
  "behind a token server": Effect.gen(function* () {
    const { ca, server: signer } = yield* Certificates.make
    const tokens = yield* tokenServer(signer)
    const { host, url } = yield* DockerRegistry.make({ token: { ...tokens, rootcertbundle: ca } })
    return {
      host,
      url,
      way: yield* wayTo(url, ann),
      strangers: [
        { name: "nobody", way: yield* wayTo(url, undefined), reason: "Unauthorized", hint: passwordHint },
        { name: "a wrong password", way: yield* wayTo(url, wrong), reason: "Unauthorized", hint: /"ann"/ }
      ],
      reader: yield* wayTo(url, bob)
    }
  })
}

const tokenServer = (signer: Certificates.Pair) =>
  Effect.map(
    TokenServer.make({
      signer,
      expiresIn: 300,
      users: {
        [ann[0]]: { password: ann[1] },
        [bob[0]]: { password: bob[1], may: { "repository:*": ["pull"] } }
      }
    }),
    ({ issuer, realm, service }) => ({ issuer, realm, service })
  )

// ---- a server that keeps what it was sent

export interface Heard {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

export interface Recorder {
  /** `http://127.0.0.1:41234`. */
  readonly url: string
  readonly host: string
  readonly heard: () => ReadonlyArray<Heard>
}

interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** Another origin on this machine, which answers as told and keeps every request. */
export const record = (answer: (heard: Heard) => Reply): Effect.Effect<Recorder, never, Scope.Scope> =>
  Effect.gen(function* () {
    const all: Array<Heard> = []
    const serve: Http.RequestListener = async (incoming, outgoing) => {
      const chunks: Array<Buffer> = []
      incoming.on("error", () => outgoing.destroy())
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
      incoming.on("end", () => {
        const { headers, method = "", url = "" } = incoming
        const heard = { method, url, headers, body: Buffer.concat(chunks).toString("latin1") }
        all.push(heard)
        const { body = "", headers: own = {}, status } = answer(heard)
        outgoing.writeHead(status, { "content-length": Buffer.byteLength(body), ...own })
        outgoing.end(method === "HEAD" ? undefined : body)
      })
    }
    const server = yield* Effect.acquireRelease(
      Effect.async<Http.Server>((resume) => {
        const started = Http.createServer(serve)
        started.listen(0, "127.0.0.1", () => resume(Effect.succeed(started)))
      }),
      (started) =>
        Effect.async<void>((resume) => {
          started.close(() => resume(Effect.void))
          started.closeAllConnections()
        })
    )
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    return { url: `http://${host}`, host, heard: () => [...all] }
  })
