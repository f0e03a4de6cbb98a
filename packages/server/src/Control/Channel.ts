/**
 * How a running registry is asked to do something by a process that can read its folder: HTTP on the loopback address. Both
 * sides prove that they know the secret and never send it, so that other users of the machine, web pages, and whatever listens on
 * the port of a registry that was killed learn nothing and get nothing done.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import * as Http from "node:http"
import * as Effect from "effect/Effect"

/** Who to talk to. */
export interface Peer {
  readonly port: number
  readonly token: string
}

export const address = "127.0.0.1"

/** Requests are a few words. */
const maxBody = 4096

/** A process on this machine that does not answer within this time hangs. Milliseconds. */
const slow = 3000

/** `Refused`: nobody listens there. `Unclear`: somebody does and does not prove to be the one. */
export type Answer = "Proved" | "Refused" | "Unclear"

export const ping = (peer: Peer): Effect.Effect<Answer> =>
  Effect.async<Answer>((resume, signal) => {
    const request = send(peer, "/ping", "", signal, (response, proved) => {
      response.resume()
      resume(Effect.succeed(proved ? "Proved" : "Unclear"))
    })
    request.setTimeout(slow, () => request.destroy(new Error("it does not answer")))
    request.on("error", (error: NodeJS.ErrnoException) => {
      resume(Effect.succeed(error.code === "ECONNREFUSED" ? "Refused" : "Unclear"))
    })
  })

/** Sends a request and tells every line of the answer. Fails where the other side is not the one, or goes away. */
export const ask = (
  peer: Peer,
  path: string,
  body: string,
  onLine: (line: string) => void
): Effect.Effect<void, Error> =>
  Effect.async<void, Error>((resume, signal) => {
    const request = send(peer, path, body, signal, (response, proved) => {
      if (!proved || response.statusCode !== 200) {
        response.destroy()
        return resume(Effect.fail(new Error("it did not take the request")))
      }
      let rest = ""
      response.setEncoding("utf8")
      response.on("data", (text: string) => {
        const lines = (rest + text).split("\n")
        rest = lines.pop() ?? ""
        for (const line of lines) onLine(line)
      })
      response.on("end", () => resume(Effect.void))
      response.on("close", () => resume(Effect.fail(new Error("it ended before it was done"))))
    })
    request.on("error", (error) => resume(Effect.fail(error)))
  })

/** A request that was proved to come from somebody who may read the folder. `answer` is for lines of text. */
export type Handle = (path: string, body: string, answer: Http.ServerResponse) => void

/** A server that lets nobody else in. */
export const makeServer = (token: string, handle: Handle): Http.Server => {
  const server = Http.createServer((request, response) => {
    const refuse = () => {
      response.writeHead(403, { connection: "close" }).end()
      request.destroy()
    }
    const nonce = String(request.headers[nonceHeader] ?? "")
    const path = request.url ?? ""
    let body = ""
    request.setEncoding("latin1")
    request.on("data", (text: string) => {
      body += text
      if (body.length > maxBody) refuse()
    })
    request.on("error", () => {})
    request.on("end", () => {
      if (request.method !== "POST" || !/^[0-9a-f]{32}$/.test(nonce)) return refuse()
      if (!same(request.headers[proofHeader], proofOf(token, `ask ${nonce} ${path} ${body}`))) return refuse()
      response.setHeader(proofHeader, proofOf(token, `answer ${nonce}`))
      handle(path, body, response)
    })
  })
  server.headersTimeout = slow
  // The time for a request to arrive; the answer may take hours.
  server.requestTimeout = slow
  server.maxConnections = 64
  return server
}

// internal

const nonceHeader = "x-registry-nonce"
const proofHeader = "x-registry-proof"

const proofOf = (token: string, text: string): string => createHmac("sha256", token).update(text).digest("hex")

const same = (given: string | ReadonlyArray<string> | undefined, wanted: string): boolean => {
  const [one, other] = [Buffer.from(String(given ?? "")), Buffer.from(wanted)]
  return one.length === other.length && timingSafeEqual(one, other)
}

const send = (
  { port, token }: Peer,
  path: string,
  body: string,
  signal: AbortSignal,
  onResponse: (response: Http.IncomingMessage, proved: boolean) => void
): Http.ClientRequest => {
  const nonce = randomBytes(16).toString("hex")
  const headers = {
    [nonceHeader]: nonce,
    [proofHeader]: proofOf(token, `ask ${nonce} ${path} ${body}`),
    "content-length": String(Buffer.byteLength(body)),
    connection: "close"
  }
  const request = Http.request({ host: address, port, path, method: "POST", headers, signal, agent: false })
  request.on("response", (response) => {
    response.on("error", () => {})
    onResponse(response, same(response.headers[proofHeader], proofOf(token, `answer ${nonce}`)))
  })
  request.end(body)
  return request
}
