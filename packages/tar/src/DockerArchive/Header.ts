/** The blocks around a member's data, by tar-stream. */
import * as Effect from "effect/Effect"
import { pack } from "tar-stream"

/** The header of a regular file, the same bytes for the same arguments; a PAX header before it where the name is long. */
export const header = (name: string, size: number): Effect.Effect<Uint8Array> =>
  Effect.async((resume) => {
    const stream = pack()
    // The entry is never given its data: only the header is wanted, so its early end is no error.
    stream.entry({ name, size, mode: 0o644, mtime: new Date(0), type: "file" }).on("error", () => {})
    stream.once("readable", () => {
      const parts: Array<Uint8Array> = []
      for (let part: unknown = stream.read(); part instanceof Uint8Array; part = stream.read()) parts.push(part)
      stream.destroy()
      const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
      let at = 0
      for (const part of parts) {
        bytes.set(part, at)
        at += part.length
      }
      const isWhole = bytes.length > 0 && bytes.length % 512 === 0
      resume(isWhole ? Effect.succeed(bytes) : Effect.dieMessage("tar-stream made no header"))
    })
  })

/** The blocks behind the last member. */
export const endOfArchive = new Uint8Array(1024)

/** The length of data with its padding. */
export const padded = (size: number): number => Math.ceil(size / 512) * 512
