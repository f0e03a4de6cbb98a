/** The requests that are being answered: counted for a clean end, and told of to log and metrics when they are over. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { Entry } from "./AccessLog.js"
import * as Metrics from "./Metrics.js"
import type { Route } from "./Route.js"

/** A request on its way; who learns more of it writes it down here. */
export interface Tracked {
  readonly incoming: IncomingMessage
  readonly response: ServerResponse
  readonly remote: string
  /** Without the query. */
  readonly path: string
  readonly started: number
  readonly time: number
  /** Over when the requests before it on its connection are; `undefined` where there are none. */
  readonly turn: Promise<void> | undefined
  route: Route["_tag"] | undefined
  account: string | undefined
  /** Whether a client that holds its body back (`Expect: 100-continue`) was told to send it. */
  bodyAsked?: boolean
}

/** Requests that a client may send ahead of their answers; nobody's client does that with so many. */
const mostAhead = 100

export class Requests {
  /** Whether the registry is about to end. */
  closing = false
  /** Requests whose answer is not at its end. */
  open = 0
  /** Handlers at work. */
  handlers = 0
  private readonly connections = new WeakMap<Socket, Connection>()

  /** `log` is told of every request at its end, whatever became of it, but for those that ask for the health. */
  constructor(private readonly log: ((entry: Entry) => void) | undefined) {}

  begin(incoming: IncomingMessage, response: ServerResponse, path: string): Tracked {
    const connection = this.connectionOf(incoming.socket)
    const { remote } = connection
    // One at a time: each of a thousand downloads asked for in one packet would open its file and fill its buffers.
    const before = connection.requests.size === 0 ? undefined : connection.last
    const turn = before && new Promise<void>((resolve) => before.once("close", resolve))
    connection.last = response
    if (connection.requests.size >= mostAhead) connection.socket.destroy()
    const tracked: Tracked = {
      incoming,
      response,
      remote,
      path,
      started: performance.now(),
      time: Date.now(),
      turn,
      route: undefined,
      account: undefined
    }
    this.open += 1
    Metrics.inFlight(1)
    connection.requests.add(tracked)
    response.once("close", () => this.end(tracked, connection))
    return tracked
  }

  // internal

  private end(tracked: Tracked, connection: Connection): void {
    if (!connection.requests.delete(tracked)) return
    this.open -= 1
    Metrics.inFlight(-1)
    const { account, incoming, path, remote, response, route, started, time } = tracked
    const { method = "" } = incoming
    const { socket } = connection
    const received = socket.bytesRead - connection.read
    const sent = socket.bytesWritten - connection.written
    connection.read = socket.bytesRead
    connection.written = socket.bytesWritten
    const status = response.headersSent ? response.statusCode : undefined
    const duration = performance.now() - started
    Metrics.ended({ method, route, status, duration, received, sent })
    if (this.log === undefined || route === "Health") return
    this.log({
      remote,
      account,
      time,
      duration,
      method,
      path,
      httpVersion: incoming.httpVersion,
      status,
      received,
      sent,
      referrer: incoming.headers.referer,
      userAgent: incoming.headers["user-agent"],
      complete: response.writableFinished
    })
  }

  private connectionOf(socket: Socket): Connection {
    const known = this.connections.get(socket)
    if (known !== undefined) return known
    const remote = (socket.remoteAddress ?? "").replace(/^::ffff:(?=[0-9.]+$)/, "")
    const connection: Connection = { socket, remote, read: 0, written: 0, requests: new Set(), last: undefined }
    this.connections.set(socket, connection)
    // Node says nothing to a pipelined answer that waits for its turn when the connection goes.
    socket.once("close", () => {
      for (const { response } of connection.requests) response.emit("close")
    })
    return connection
  }
}

interface Connection {
  /** Node takes it from a request that breaks off. */
  readonly socket: Socket
  readonly remote: string
  /** Bytes that earlier requests account for. */
  read: number
  written: number
  readonly requests: Set<Tracked>
  /** Of the latest request. */
  last: ServerResponse | undefined
}
