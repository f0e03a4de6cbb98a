/**
 * A token server as Docker's registries use them, on the loopback interface, for tests: it knows users and identity tokens,
 * says who may do what, records what it was asked, and misbehaves where its script says so. `onRequest` puts an embedded
 * registry behind it; docker-registry takes its signed tokens. Passwords are kept and compared in the clear, so it is no
 * server for anything but tests.
 * https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/
 *
 * @example
 * ```ts
 * import { EmbeddedRegistry, TokenServer } from "@effect-registry/server"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * const guarded = Layer.unwrapEffect(
 *   Effect.map(TokenServer.TokenServer, (tokens) =>
 *     EmbeddedRegistry.layerMemory({ onRequest: TokenServer.onRequest(tokens) })
 *   )
 * ).pipe(Layer.provideMerge(TokenServer.layer({ users: { ann: { password: "secret" } } })))
 * ```
 */
import { randomUUID } from "node:crypto"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Access from "./TokenServer/Access.js"
import * as Jwt from "./TokenServer/Jwt.js"

export { type Access, everything } from "./TokenServer/Access.js"
export { type Options as GuardOptions, onRequest, onRequestBasic } from "./TokenServer/Guard.js"
export type { Signer } from "./TokenServer/Jwt.js"

export interface User {
  readonly password: string
  /** Default everything. */
  readonly may?: Access.Access | undefined
}

export interface Options {
  /** By name. */
  readonly users?: Readonly<Record<string, User>> | undefined
  /** What somebody without credentials may do. Default: they are refused. */
  readonly anonymous?: Access.Access | undefined
  /** The users of identity (refresh) tokens. */
  readonly identityTokens?: Readonly<Record<string, string>> | undefined
  /** Default `registry.test`. */
  readonly service?: string | undefined
  /** Default `token-server.test`. */
  readonly issuer?: string | undefined
  /** Tokens are signed by it; without, they are opaque. */
  readonly signer?: Jwt.Signer | undefined
  /** For HTTPS, PEM. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
  /** Seconds, as answers say it. Default: they do not. */
  readonly expiresIn?: number | undefined
  /** How long a token is good for indeed, in seconds. Default `expiresIn`, else 60. */
  readonly lifetime?: number | undefined
  /** Of several scopes only the first is granted. Default false. */
  readonly oneScope?: boolean | undefined
  /** What a token is called. Default both names to a GET, `access_token` to a POST. */
  readonly field?: "token" | "access_token" | undefined
  /** The status of every POST. Default: they are served. */
  readonly refusePost?: number | undefined
  readonly script?: Script | undefined
}

/** How somebody said who they are. */
export type Grant = "anonymous" | "basic" | "password" | "refresh_token" | "unknown"

export interface TokenRequest {
  /** 0 for the first one. */
  readonly index: number
  readonly method: string
  readonly headers: Http.IncomingHttpHeaders
  /** Of the query, or of the form that was posted. */
  readonly parameters: URLSearchParams
  readonly grant: Grant
  /** As they were asked for, each by itself. */
  readonly scopes: ReadonlyArray<string>
  /** Milliseconds since the epoch. */
  readonly at: number
}

export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
}

/** Asked about every request; `undefined` lets the server answer. */
export type Script = (request: TokenRequest) => Reply | undefined

export interface Token {
  readonly value: string
  /** Empty for somebody without credentials. */
  readonly account: string
  readonly granted: ReadonlyArray<Access.Scope>
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

export interface TokenServerService {
  /** What a challenge names as realm: `http://127.0.0.1:41234/token`. */
  readonly realm: string
  /** `http://127.0.0.1:41234`. */
  readonly url: string
  readonly service: string
  readonly issuer: string
  readonly requests: () => ReadonlyArray<TokenRequest>
  /** All tokens so far, in the order of their making. */
  readonly tokens: () => ReadonlyArray<Token>
  /** From now on. */
  readonly script: (script: Script) => Effect.Effect<void>
  /** Every token made so far is good for nothing. */
  readonly revoke: Effect.Effect<void>
  /** The token, if it is one of ours and still good. */
  readonly verify: (value: string) => Token | undefined
}

/** A running token server. */
export class TokenServer extends Context.Tag("@effect-registry/server/TokenServer")<
  TokenServer,
  TokenServerService
>() {}

/** A token server on a free port, for as long as the scope is open. */
export const make = (options: Options = {}): Effect.Effect<TokenServerService, never, Scope.Scope> =>
  Effect.gen(function* () {
    const service = options.service ?? "registry.test"
    const issuer = options.issuer ?? "token-server.test"
    const requests: Array<TokenRequest> = []
    const tokens: Array<Token> = []
    let firstValid = 0
    let script: Script = options.script ?? (() => undefined)

    const issue = (account: string, granted: ReadonlyArray<Access.Scope>): Token => {
      const seconds = options.lifetime ?? options.expiresIn ?? 60
      const value =
        options.signer === undefined
          ? `opaque-${randomUUID()}`
          : Jwt.sign(options.signer, { issuer, service, account, access: granted, seconds })
      const token = { value, account, granted, expiresAt: Date.now() + seconds * 1000 }
      tokens.push(token)
      return token
    }

    const answer = async (incoming: Http.IncomingMessage): Promise<Reply> => {
      const { headers, method = "", url = "" } = incoming
      const body = await textOf(incoming)
      const parameters = new URLSearchParams(method === "POST" ? body : url.replace(/^[^?]*\??/, ""))
      // A GET names each scope by a parameter of its own, a POST all in one.
      const scopes = parameters.getAll("scope").flatMap((scope) => scope.split(" ").filter((each) => each !== ""))
      const grant = grantOf(method, headers, parameters)
      const request = { index: requests.length, method, headers, parameters, grant, scopes, at: Date.now() }
      requests.push(request)
      const scripted = script(request)
      if (scripted !== undefined) return scripted
      if (method !== "GET" && method !== "POST") return refusal(405, "GET or POST")
      if (method === "POST" && options.refusePost !== undefined) return refusal(options.refusePost, "no POST here")
      if (!url.startsWith("/token")) return refusal(404, "tokens are at /token")
      if (parameters.get("service") !== service) return refusal(400, "unknown service")
      const who = identify(options, request)
      if (who === undefined) return refusal(401, "who are you?")
      const asked = scopes.flatMap((scope) => Access.parse(scope) ?? [])
      const granted = asked.flatMap((scope) => Access.grant(who.may, scope) ?? [])
      const token = issue(who.account, options.oneScope === true ? granted.slice(0, 1) : granted)
      return json(200, {
        ...(options.field === "access_token" || (method === "POST" && options.field === undefined)
          ? { access_token: token.value }
          : options.field === "token"
            ? { token: token.value }
            : { token: token.value, access_token: token.value }),
        ...(options.expiresIn === undefined ? {} : { expires_in: options.expiresIn }),
        scope: token.granted.map(Access.format).join(" ")
      })
    }

    const url = yield* listen(options.tls, (incoming, outgoing) => {
      answer(incoming).then(
        ({ body = "", headers = {}, status }) => {
          outgoing.writeHead(status, { "content-length": Buffer.byteLength(body), ...headers })
          outgoing.end(body)
        },
        () => outgoing.destroy()
      )
    })
    return {
      realm: `${url}/token`,
      url,
      service,
      issuer,
      requests: () => [...requests],
      tokens: () => [...tokens],
      script: (next) =>
        Effect.sync(() => {
          script = next
        }),
      revoke: Effect.sync(() => {
        firstValid = tokens.length
      }),
      verify: (value) => tokens.slice(firstValid).find((token) => token.value === value && token.expiresAt > Date.now())
    }
  })

/** A token server of the layer's own. */
export const layer = (options: Options = {}): Layer.Layer<TokenServer> => Layer.scoped(TokenServer, make(options))

// internal

const listen = (tls: Options["tls"], handler: Http.RequestListener) =>
  Effect.acquireRelease(
    Effect.async<Http.Server | Https.Server>((resume) => {
      const server = tls === undefined ? Http.createServer(handler) : Https.createServer({ ...tls }, handler)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(
    Effect.map((server) => {
      const address = server.address()
      const port = typeof address === "object" ? address?.port : undefined
      return `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`
    })
  )

/** Against a client that sends for ever. */
const maxForm = 1 << 20

/** Rejects, and so closes the connection, where it is larger than any form. */
const textOf = async (incoming: Http.IncomingMessage): Promise<string> => {
  const chunks: Array<Buffer> = []
  let size = 0
  for await (const chunk of incoming) {
    size += chunk.length
    if (size > maxForm) return Promise.reject(new Error("too large"))
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

const grantOf = (method: string, headers: Http.IncomingHttpHeaders, parameters: URLSearchParams): Grant => {
  if (method === "POST") {
    const type = parameters.get("grant_type")
    return type === "password" || type === "refresh_token" ? type : "unknown"
  }
  return headers.authorization === undefined ? "anonymous" : "basic"
}

const identify = (
  { anonymous, identityTokens = {}, users = {} }: Options,
  { grant, headers, parameters }: TokenRequest
): { readonly account: string; readonly may: Access.Access } | undefined => {
  const user = (name: string, password: string | undefined) => {
    const known = users[name]
    if (known === undefined || (password !== undefined && known.password !== password)) return undefined
    return { account: name, may: known.may ?? Access.everything }
  }
  switch (grant) {
    case "anonymous":
      return anonymous === undefined ? undefined : { account: "", may: anonymous }
    case "basic": {
      const text = Buffer.from((headers.authorization ?? "").replace(/^Basic /, ""), "base64").toString("utf8")
      const at = text.indexOf(":")
      return user(text.slice(0, at), text.slice(at + 1))
    }
    case "password":
      return user(parameters.get("username") ?? "", parameters.get("password") ?? "")
    case "refresh_token": {
      const name = identityTokens[parameters.get("refresh_token") ?? ""]
      return name === undefined ? undefined : user(name, undefined)
    }
    case "unknown":
      return undefined
  }
}

const json = (status: number, value: unknown): Reply => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value)
})

const refusal = (status: number, message: string): Reply =>
  json(status, { errors: [{ code: status === 401 ? "UNAUTHORIZED" : "UNSUPPORTED", message }] })
