/** A small reverse proxy that answers as another registry would: by itself, or with what the one behind it said, changed. */
import * as Http from "node:http"
import * as Https from "node:https"
import type { AddressInfo, Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Pair } from "../Certificates.js"

/** What a path of the distribution API is about; `other` for paths outside of it. */
export type Kind = "base" | "catalog" | "tags" | "manifest" | "blob" | "upload" | "other"

export interface Request {
  readonly method: string
  /** Path and query, byte for byte. */
  readonly target: string
  readonly path: string
  /** Without the `?`. */
  readonly query: string
  readonly headers: Http.IncomingHttpHeaders
  readonly kind: Kind
  /** The repository, empty where there is none. */
  readonly repository: string
  /** Tag, digest or upload. */
  readonly reference: string
  /** Of manifests that are put and of forms; `undefined` for bodies that go through as they come. */
  readonly body: Buffer | undefined
}

export interface Response {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | string
  /** Resets the connection after so many bytes of the body. */
  readonly cutAt?: number | undefined
}

/** The request as the registry behind gets it instead. */
export interface Forward {
  readonly target?: string | undefined
  /** `undefined` takes the header away. */
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined
  /** Resets both connections after so many bytes of the request's body. */
  readonly cutAt?: number | undefined
}

export type Decision = { readonly answer: Response } | { readonly forward: Forward } | undefined

/** Where a quirk is at work. */
export interface Site {
  /** Of the registry itself, without a slash at the end. */
  readonly url: string
  /** Another origin that leads to the same registry, without quirks; it refuses credentials, as object storage does. */
  readonly other: string
  /** Asks the registry behind. */
  readonly ask: (method: string, target: string, headers?: Readonly<Record<string, string>>) => Promise<Response>
}

export interface Quirk {
  /** An answer instead of the registry's, or a change to what it is asked. Default: it is asked. */
  readonly request?: (request: Request, site: Site) => Decision | Promise<Decision>
  /** What the client gets instead of the registry's answer. Default: that. */
  readonly response?: (response: Response, request: Request, site: Site) => Response | Promise<Response>
}

export const answer = (
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body: Uint8Array | string = ""
): { readonly answer: Response } => ({ answer: { status, headers, body } })

/** An answer with one error of the specification's form. */
export const refuse = (
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): { readonly answer: Response } =>
  answer(
    status,
    { "content-type": "application/json", ...headers },
    JSON.stringify({ errors: [{ code, message, detail: {} }] })
  )

export const forward = (change: Forward): { readonly forward: Forward } => ({ forward: change })

/** The first answer counts; changes add up. */
export const all = (...quirks: ReadonlyArray<Quirk>): Quirk => ({
  request: async (request, site) => {
    let change: Forward = {}
    for (const quirk of quirks) {
      const decision = await quirk.request?.(request, site)
      if (decision === undefined) continue
      if ("answer" in decision) return decision
      change = { ...change, ...decision.forward, headers: { ...change.headers, ...decision.forward.headers } }
    }
    return { forward: change }
  },
  response: async (response, request, site) => {
    let current = response
    for (const quirk of quirks) current = (await quirk.response?.(current, request, site)) ?? current
    return current
  }
})

/** A request and how it was answered. */
export interface Seen extends Request {
  /** `undefined` where the connection was reset. */
  readonly status: number | undefined
}

export interface Listener {
  readonly url: string
  readonly host: string
  readonly seen: () => ReadonlyArray<Seen>
}

/** In front of `behind` for as long as the scope is open; over TLS where there is a certificate. `site` is known once all listen. */
export const listen = (
  behind: string,
  quirk: Quirk,
  site: () => Site,
  certificate?: Pair
): Effect.Effect<Listener, never, Scope.Scope> =>
  Effect.gen(function* () {
    const seen: Array<Seen> = []
    const sockets = new Set<Socket>()
    const handle = (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse) => {
      incoming.on("error", () => outgoing.destroy())
      serve(behind, quirk, site(), incoming, outgoing).then(
        (entry) => seen.push(entry),
        () => incoming.socket.destroy()
      )
    }
    const options = { requestTimeout: 0, keepAliveTimeout: 60_000 }
    const server =
      certificate === undefined
        ? Http.createServer(options, handle)
        : Https.createServer({ ...options, ...certificate }, handle)
    server.on("connection", (socket: Socket) => {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => sockets.delete(socket))
    })
    yield* Effect.acquireRelease(
      Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
      () =>
        Effect.promise(() => {
          for (const socket of sockets) socket.destroy()
          return new Promise((resolve) => server.close(resolve))
        })
    )
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    return { host, url: `${certificate === undefined ? "http" : "https"}://${host}`, seen: () => [...seen] }
  })

/** Kept open between requests: a new connection for each would take most of a test's time. */
const agent = new Http.Agent({ keepAlive: true, timeout: 10_000 })

/** Asks `base` and reads the whole answer. `body` is passed on as it comes. */
export const ask = (
  base: string,
  method: string,
  target: string,
  headers: Http.OutgoingHttpHeaders = {},
  body?: Buffer | { readonly incoming: Http.IncomingMessage; readonly cutAt: number | undefined }
): Promise<Response> =>
  new Promise((resolve, reject) => {
    const url = new URL(base)
    const request = Http.request({ agent, host: url.hostname, port: url.port, method, path: target, headers })
    request.on("error", reject)
    request.on("response", (response) => {
      const chunks: Array<Buffer> = []
      response.on("error", reject)
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 502, headers: flat(response.headers), body: Buffer.concat(chunks) })
      )
    })
    if (body === undefined || Buffer.isBuffer(body)) {
      request.end(body)
      return
    }
    const { cutAt, incoming } = body
    incoming.on("close", () => incoming.complete || request.destroy(new Error("the client went away")))
    if (cutAt === undefined) {
      incoming.pipe(request)
      return
    }
    let left = cutAt
    incoming.on("data", (chunk: Buffer) => {
      if (chunk.length < left) {
        left -= chunk.length
        request.write(chunk)
      } else if (!request.destroyed) {
        // What the registry got before it counts, so it must have read it.
        request.write(chunk.subarray(0, left), () => setTimeout(() => request.destroy(new Error("cut")), 20))
        left = Number.POSITIVE_INFINITY
        incoming.pause()
      }
    })
    incoming.on("end", () => request.end())
  })

/** What a path of the API names. */
export const parse = (path: string): Pick<Request, "kind" | "repository" | "reference"> => {
  const none = { repository: "", reference: "" }
  if (path === "/v2/" || path === "/v2") return { kind: "base", ...none }
  if (path === "/v2/_catalog") return { kind: "catalog", ...none }
  const [, tagged] = /^\/v2\/(.+)\/tags\/list$/.exec(path) ?? []
  if (tagged !== undefined) return { kind: "tags", repository: tagged, reference: "" }
  const [, repository = "", what = "", reference = ""] =
    /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs)\/([^/]*)$/.exec(path) ?? []
  const kinds: Readonly<Record<string, Kind>> = { manifests: "manifest", blobs: "blob", "blobs/uploads": "upload" }
  return { kind: kinds[what] ?? "other", repository, reference }
}

// internal

const serve = async (
  behind: string,
  quirk: Quirk,
  site: Site,
  incoming: Http.IncomingMessage,
  outgoing: Http.ServerResponse
): Promise<Seen> => {
  const { method = "", url: target = "", headers } = incoming
  const [path = "", ...rest] = target.split("?")
  const form = headers["content-type"] === "application/x-www-form-urlencoded"
  const parsed = parse(path)
  const isHeld = form || (parsed.kind === "manifest" && method === "PUT")
  const body = isHeld ? await read(incoming) : undefined
  const request: Request = { method, target, path, query: rest.join("?"), headers, ...parsed, body }
  const decision = await quirk.request?.(request, site)
  if (decision !== undefined && "answer" in decision) {
    if (!isHeld) await read(incoming)
    write(method, outgoing, decision.answer)
    return { ...request, status: decision.answer.status }
  }
  const change = decision?.forward ?? {}
  const sent = changed(headers, change.headers ?? {})
  const asked = ask(behind, method, change.target ?? target, sent, body ?? { incoming, cutAt: change.cutAt })
  const original = await asked.catch(() => undefined)
  if (original === undefined) {
    incoming.socket.destroy()
    return { ...request, status: undefined }
  }
  const response = (await quirk.response?.(original, request, site)) ?? original
  write(method, outgoing, response)
  return { ...request, status: response.status }
}

const write = (method: string, outgoing: Http.ServerResponse, response: Response): void => {
  const body = Buffer.from(response.body)
  const length = method === "HEAD" ? response.headers["content-length"] : String(body.length)
  const { "transfer-encoding": _, connection: __, ...headers } = response.headers
  const bodiless = response.status === 204 || response.status === 304
  outgoing.writeHead(response.status, {
    ...headers,
    ...(length === undefined || bodiless ? {} : { "content-length": length })
  })
  if (method === "HEAD" || response.cutAt === undefined || body.length <= response.cutAt) {
    outgoing.end(method === "HEAD" ? undefined : body)
    return
  }
  outgoing.write(body.subarray(0, response.cutAt), () => setTimeout(() => outgoing.socket?.destroy(), 20))
}

const read = async (incoming: Http.IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of incoming) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const flat = (headers: Http.IncomingHttpHeaders): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, [value].flat().join(", ")]]))
  )

const changed = (
  headers: Http.IncomingHttpHeaders,
  change: Readonly<Record<string, string | undefined>>
): Http.OutgoingHttpHeaders => {
  const { connection: _, "keep-alive": __, ...rest } = { ...headers, ...change }
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
}
