/** A client that sends whatever bytes it is told to, and a reader of answers that forgives nothing. */
import { connect, type Socket } from "node:net"

export interface Answer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
}

/** What came of waiting for an answer. */
export type Outcome = Answer | "closed" | "silent" | { readonly malformed: string }

export const isAnswer = (outcome: Outcome): outcome is Answer => typeof outcome === "object" && "status" in outcome

export interface Connection {
  readonly send: (bytes: Uint8Array | string) => void
  /** The next answer, to a request of this method; `silent` when none has come in this time. */
  readonly answer: (method?: string, milliseconds?: number) => Promise<Outcome>
  /** Whether the other side ended the connection within this time. */
  readonly closed: (milliseconds: number) => Promise<boolean>
  /** Says that nothing more will come. */
  readonly halfClose: () => void
  readonly destroy: () => void
  readonly socket: Socket
}

export const open = (port: number): Promise<Connection> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    const state: { received: Buffer; ended: boolean } = { received: Buffer.alloc(0), ended: false }
    let changed = () => {}
    socket.on("data", (chunk) => {
      state.received = joined(state.received, chunk)
      changed()
    })
    const end = () => {
      state.ended = true
      changed()
    }
    socket.on("error", end).on("end", end).on("close", end)
    const until = (isSo: () => boolean, milliseconds: number) =>
      new Promise<void>((done) => {
        const timer = setTimeout(done, milliseconds)
        changed = () => {
          if (!isSo()) return
          clearTimeout(timer)
          done()
        }
        changed()
      })
    const connection: Connection = {
      socket,
      send: (bytes) => void socket.write(bytes),
      answer: async (method = "GET", milliseconds = 20_000) => {
        let parsed = parse(state.received, method, state.ended)
        await until(() => {
          parsed = parse(state.received, method, state.ended)
          return parsed !== "incomplete" || state.ended
        }, milliseconds)
        if (parsed === "incomplete") {
          if (state.ended) return state.received.length === 0 ? "closed" : { malformed: `cut: ${show(state.received)}` }
          return "silent"
        }
        if ("malformed" in parsed) return parsed
        state.received = parsed.rest
        return parsed.answer
      },
      closed: async (milliseconds) => {
        await until(() => state.ended, milliseconds)
        return state.ended
      },
      halfClose: () => void socket.end(),
      destroy: () => void socket.destroy()
    }
    socket.once("connect", () => resolve(connection)).once("error", reject)
  })

/** One request on a connection of its own. */
export const request = async (
  port: number,
  method: string,
  target: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly body?: Uint8Array | string } = {}
): Promise<Outcome> => {
  const connection = await open(port)
  connection.send(head(method, target, { "content-length": length(options.body), ...options.headers }))
  if (options.body !== undefined) connection.send(options.body)
  const outcome = await connection.answer(method)
  connection.destroy()
  return outcome
}

export const head = (method: string, target: string, headers: Readonly<Record<string, string>> = {}): string =>
  [
    `${method} ${target} HTTP/1.1`,
    "host: x",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "",
    ""
  ].join("\r\n")

/** Bytes as one line that a terminal can take. */
export const show = (bytes: Uint8Array | string, most = 600): string => {
  const text = typeof bytes === "string" ? bytes : Buffer.from(bytes.subarray(0, most)).toString("latin1")
  const cut = bytes.length > most ? `… (${bytes.length} bytes)` : ""
  return JSON.stringify(text.slice(0, most)).replace(/[\x7f-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`) + cut
}

// internal

type Parsed = "incomplete" | { readonly malformed: string } | { readonly answer: Answer; readonly rest: Buffer }

/** Both, in room that grows by doubling: big answers come in many pieces. */
const joined = (bytes: Buffer, more: Buffer): Buffer => {
  const size = bytes.length + more.length
  if (bytes.byteOffset === 0 && bytes.buffer.byteLength >= size && bytes.length > 65_536) {
    const grown = Buffer.from(bytes.buffer, 0, size)
    grown.set(more, bytes.length)
    return grown
  }
  const room = Buffer.from(new ArrayBuffer(Math.max(2 * size, 131_072)), 0, size)
  room.set(bytes)
  room.set(more, bytes.length)
  return room
}

const length = (body: Uint8Array | string | undefined) => String(body === undefined ? 0 : Buffer.byteLength(body))

const parse = (bytes: Buffer, method: string, ended: boolean): Parsed => {
  const end = bytes.indexOf("\r\n\r\n")
  if (end < 0) return bytes.length > 65_536 ? { malformed: show(bytes) } : "incomplete"
  const [first = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n")
  const status = Number(/^HTTP\/1\.1 ([1-5][0-9]{2}) [\x20-\x7e]*$/.exec(first)?.[1])
  if (Number.isNaN(status)) return { malformed: show(bytes) }
  const after = bytes.subarray(end + 4)
  if (status < 200) return parse(after, method, ended)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name = "", value = ""] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)$/.exec(line) ?? []
    if (name === "" || headers.has(name.toLowerCase())) return { malformed: `header ${show(line)}` }
    headers.set(name.toLowerCase(), value)
  }
  const of = (body: Buffer, rest: Buffer): Parsed => ({ answer: { status, headers, body }, rest })
  if (method === "HEAD" || status === 204 || status === 304) return of(Buffer.alloc(0), after)
  const size = headers.get("content-length")
  if (headers.has("transfer-encoding")) {
    return headers.get("transfer-encoding") === "chunked" && size === undefined
      ? chunked(after, of)
      : { malformed: "transfer-encoding" }
  }
  if (size === undefined) {
    if (headers.get("connection")?.toLowerCase() !== "close") return { malformed: `no length: ${show(bytes)}` }
    return ended ? of(after, Buffer.alloc(0)) : "incomplete"
  }
  if (!/^[0-9]+$/.test(size)) return { malformed: `content-length ${show(size)}` }
  return after.length < Number(size) ? "incomplete" : of(after.subarray(0, Number(size)), after.subarray(Number(size)))
}

const chunked = (bytes: Buffer, of: (body: Buffer, rest: Buffer) => Parsed): Parsed => {
  const parts: Array<Buffer> = []
  for (let at = 0; ; ) {
    const end = bytes.indexOf("\r\n", at)
    if (end < 0) return "incomplete"
    const size = Number.parseInt(bytes.subarray(at, end).toString("latin1"), 16)
    if (Number.isNaN(size)) return { malformed: `chunk ${show(bytes.subarray(at))}` }
    if (bytes.length < end + 4 + size) return "incomplete"
    if (size === 0) return of(Buffer.concat(parts), bytes.subarray(end + 4))
    parts.push(bytes.subarray(end + 2, end + 2 + size))
    at = end + 4 + size
  }
}
