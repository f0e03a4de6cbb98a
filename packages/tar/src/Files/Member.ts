/** A member of a layer as it is kept. */

/** What a name stands for. `Nothing`: only the way to a whiteout. `Implied`: a folder that only its content mentions. */
export const Kind = {
  Nothing: 0,
  Implied: 1,
  Folder: 2,
  File: 3,
  HardLink: 4,
  Symlink: 5,
  Character: 6,
  Block: 7,
  Fifo: 8,
  Other: 9
} as const
export type Kind = (typeof Kind)[keyof typeof Kind]

export interface Attributes {
  readonly kind: Kind
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes; of a device its numbers, see `device`. */
  readonly size: number
  readonly mtime: number
  readonly link: Uint8Array
}

/** How much more may be held, in all trees of a run together. */
export interface Budget {
  nodes: number
  bytes: number
}

/** More than any image has; what fits in two GiB of memory. */
export const budget = (): Budget => ({ nodes: 16_000_000, bytes: 512 * 1024 * 1024 })

/** Both numbers of a device as one. */
export const device = (major: number, minor: number): number => major * 2 ** 32 + minor
export const deviceNumbers = (size: number): readonly [major: number, minor: number] => [
  Math.floor(size / 2 ** 32),
  size % 2 ** 32
]
