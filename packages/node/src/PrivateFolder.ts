/** Folders for what is the user's own, made with mode 700. */
import * as Fs from "node:fs/promises"
import * as Path from "node:path"

/** The folder could not be made, and its cause says why. */
export class FolderError extends Error {
  constructor(
    readonly folder: string,
    override readonly cause: unknown
  ) {
    super()
  }
}

/**
 * Makes it, and what of its path is missing; nothing where it is there. Fails with a FolderError. Level by level: Node's
 * own recursion calls whatever goes wrong ENOENT, and runs for ever on a path under /proc.
 */
export const make = async (folder: string): Promise<void> => {
  const code = await Fs.stat(folder).then(() => undefined, codeOf)
  if (code === undefined) return
  if (code === "ENOENT" && Path.dirname(folder) !== folder) await make(Path.dirname(folder))
  await Fs.mkdir(folder, { mode: 0o700 }).catch((cause: unknown) => {
    if (codeOf(cause) !== "EEXIST") throw new FolderError(folder, cause)
  })
}

/** The name of a system's error, `ENOENT`. */
export const codeOf = (cause: unknown): unknown =>
  typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
