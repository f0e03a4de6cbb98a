/** Servers and files that live as long as a test's scope. */
import * as Fs from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeStream from "@effect/platform-node/NodeStream"
import type { FileContent } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface TestServer {
  readonly url: string
  readonly sockets: Set<Net.Socket>
}

export const listening = <S extends Net.Server>(server: S): Effect.Effect<TestServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<TestServer>((resume) => {
      const sockets = new Set<Net.Socket>()
      server.on("connection", (socket: Net.Socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => sockets.delete(socket))
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }))
      )
    }),
    ({ sockets }) =>
      Effect.async<void>((done) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => done(Effect.void))
      })
  )

/** A handler may fail when its connection ends. */
export const serve = (handler: (req: Http.IncomingMessage, res: Http.ServerResponse) => unknown) =>
  listening(
    Http.createServer((req, res) => {
      Promise.resolve(handler(req, res)).catch(() => req.socket.destroy())
    })
  )
/** Speaks raw bytes. */
export const serveRaw = (handler: (socket: Net.Socket) => void) => listening(Net.createServer(handler))

export const readAll = async (message: Http.IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export const tempDir: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "node-test-"))),
  (dir) => Effect.sync(() => Fs.rmSync(dir, { recursive: true, force: true }))
)

/** A file with these bytes, opened for reading and writing. */
export const openFile = (
  bytes: Uint8Array
): Effect.Effect<{ readonly path: string; readonly fd: number }, never, Scope.Scope> =>
  Effect.flatMap(tempDir, (dir) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const path = Path.join(dir, "file")
        Fs.writeFileSync(path, bytes)
        return { path, fd: Fs.openSync(path, "r+") }
      }),
      ({ fd }) => Effect.sync(() => Fs.closeSync(fd))
    )
  )

export class ReadError {
  readonly _tag = "ReadError"
  constructor(readonly cause: unknown) {}
}

export const fileContent = (
  file: { readonly path: string; readonly fd: number },
  offset: number,
  size: number
): FileContent<ReadError> => ({
  _tag: "File",
  fd: FileSystem.FileDescriptor(file.fd),
  path: file.path,
  offset,
  size,
  stream: NodeStream.fromReadable(
    () => Fs.createReadStream(file.path, { start: offset, end: offset + size - 1 }),
    (cause) => new ReadError(cause)
  ),
  readError: (cause) => new ReadError(cause)
})

/** Descriptors of this process that point at the file. */
export const openCount = (path: string): number =>
  Fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return Fs.readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false
    }
  }).length

/** Waits, in real time, for all connections to end: two seconds at most, on a busy machine too. */
export const disconnected = ({ sockets }: TestServer): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let i = 0; i < 200 && sockets.size > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    if (sockets.size > 0) throw new Error(`${sockets.size} connections are still open`)
  })
