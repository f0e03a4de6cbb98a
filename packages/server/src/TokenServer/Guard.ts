/** Hooks that put an embedded registry behind a token server, or behind passwords. */
import * as Effect from "effect/Effect"
import * as Faults from "../Faults.js"
import type { TokenServerService } from "../TokenServer.js"
import * as Access from "./Access.js"

export interface Options {
  /** What the challenge names. Default the server itself; a proxy in front of it, for one. */
  readonly realm?: string | (() => string) | undefined
  /** Asked about requests that are let through. */
  readonly next?: Faults.Hook | undefined
}

/** Lets through what comes with a token of the server that is good for it; all else gets a 401 that says what is needed. */
export const onRequest =
  (server: TokenServerService, options: Options = {}): Faults.Hook =>
  (request) => {
    const scopes = Access.needed(request.method, request.path, request.query)
    const value = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1]
    const token = value === undefined ? undefined : server.verify(value)
    if (token !== undefined && Access.covers(token.granted, scopes)) return pass(options.next, request)
    const { realm = server.realm } = options
    const parameters = {
      realm: typeof realm === "string" ? realm : realm(),
      service: server.service,
      ...(scopes.length === 0 ? {} : { scope: scopes.map(Access.format).join(" ") }),
      ...(value === undefined ? {} : { error: token === undefined ? "invalid_token" : "insufficient_scope" })
    }
    const quoted = Object.entries(parameters).map(([name, text]) => `${name}="${text}"`)
    return refuse(`Bearer ${quoted.join(",")}`)
  }

/** Lets through who comes with one of these passwords, by user name. */
export const onRequestBasic =
  (users: Readonly<Record<string, string>>, options: Pick<Options, "next"> = {}): Faults.Hook =>
  (request) => {
    const known = Object.entries(users).map(
      ([name, password]) => `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`
    )
    return known.includes(request.headers.authorization ?? "")
      ? pass(options.next, request)
      : refuse('Basic realm="registry"')
  }

// internal

const pass = (next: Faults.Hook | undefined, request: Faults.Request) =>
  next === undefined ? Effect.succeed(undefined) : next(request)

const refuse = (challenge: string) =>
  Effect.succeed(
    Faults.respond(401, {
      headers: { "www-authenticate": challenge, "content-type": "application/json" },
      body: JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "authentication required" }] })
    })
  )
