/** The paths of members, taken apart by their bytes. */

/** Bytes. Those who unpack give up at 4096; longer names are still shown, up to this. */
export const maxPath = 65_000
/** Folders above a name. */
export const maxDepth = 4096

const slash = 47
const dot = 46

/** The parts of one path after the other: where each begins and ends in it. `.` and doubled slashes are none. */
export class Parts {
  private readonly starts = new Uint16Array(maxDepth + 1)
  private readonly ends = new Uint16Array(maxDepth + 1)

  /** Returns how many parts the path has, or why it cannot stand in an image. */
  read(path: Uint8Array): number | string {
    if (path.length > maxPath) return `its name has ${path.length} bytes`
    let depth = 0
    let start = 0
    for (let at = 0; at <= path.length; at++) {
      const byte = at === path.length ? slash : path[at]
      if (byte === 0) return "its name has a zero byte"
      if (byte !== slash) continue
      const length = at - start
      const isDot = length === 1 && path[start] === dot
      if (length === 2 && path[start] === dot && path[start + 1] === dot) return "its name leads upwards"
      if (length > 0 && !isDot) {
        if (depth > maxDepth) return `it lies more than ${maxDepth} folders deep`
        this.starts[depth] = start
        this.ends[depth] = at
        depth++
      }
      start = at + 1
    }
    return depth
  }

  start(part: number): number {
    return this.starts[part] ?? 0
  }

  end(part: number): number {
    return this.ends[part] ?? 0
  }
}

/** The parts of a path as bytes of their own; `..` is a name like others, which nothing has. */
export const split = (path: Uint8Array): ReadonlyArray<Uint8Array> => {
  const found: Array<Uint8Array> = []
  for (let start = 0, at = 0; at <= path.length; at++) {
    if (at < path.length && path[at] !== slash) continue
    const isDot = at - start === 1 && path[start] === dot
    if (at > start && !isDot) found.push(path.subarray(start, at))
    start = at + 1
  }
  return found
}

/** Whether the bytes from `start` to `end` begin with these. */
export const startsWith = (path: Uint8Array, start: number, end: number, prefix: Uint8Array): boolean => {
  if (end - start < prefix.length) return false
  for (let n = 0; n < prefix.length; n++) if (path[start + n] !== prefix[n]) return false
  return true
}

/** Whether there is nothing between these two, or one or two dots. */
export const isDots = (path: Uint8Array, start: number, end: number): boolean =>
  end - start <= 2 && path.subarray(start, end).every((byte) => byte === dot)
