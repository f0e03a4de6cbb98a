/** A file as it is told to people and programs. */
import { deviceNumbers, Kind } from "./Member.js"
import { type Place, type Target, textOf } from "./View.js"

export type EntryType =
  | "file"
  | "directory"
  | "symlink"
  | "hardlink"
  | "character"
  | "block"
  | "fifo"
  /** A type of member that no unpacker knows. */
  | "other"
  /** The layer removes what lower layers have under this name. */
  | "whiteout"
  /** The layer removes what lower layers have in this folder. */
  | "opaque"

export interface FileEntry {
  /** Without a slash in front; empty for the folder that holds everything. */
  readonly path: string
  readonly type: EntryType
  /** Permissions and the three bits above them. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of a file; of a hard link those of the file that it names. 0 for others. */
  readonly size: number
  /** Seconds since 1970. */
  readonly mtime: number
  /** Where a link points, as written. */
  readonly link: string | undefined
  /** Of a device: its two numbers. */
  readonly device: readonly [major: number, minor: number] | undefined
  /** Position of the layer it comes from, 0 the lowest. */
  readonly layer: number
  /** A folder that no layer lists: those who unpack make it with attributes of their own. */
  readonly implied: boolean
  /** Of a hard link: why it cannot be unpacked. */
  readonly broken: string | undefined
}

/** A member as its layer has it, a hard link with the size of `target`. */
export const entryOf = (path: string, { layer, node, tree }: Place, target: Target | undefined): FileEntry => {
  const kind = tree.kind(node)
  const isLink = kind === Kind.HardLink
  const isDevice = kind === Kind.Character || kind === Kind.Block
  const file = isLink ? target?.place : { node, tree }
  const size = file !== undefined && file.tree.kind(file.node) === Kind.File ? file.tree.size(file.node) : 0
  return {
    path,
    type: types[kind],
    mode: tree.mode(node),
    uid: tree.uid(node),
    gid: tree.gid(node),
    size,
    mtime: tree.mtime(node),
    link: isLink || kind === Kind.Symlink ? textOf(tree.link(node)) : undefined,
    device: isDevice ? deviceNumbers(tree.size(node)) : undefined,
    layer,
    implied: false,
    broken: isLink ? brokenness(target) : undefined
  }
}

/** A folder that is only there because of its content. */
export const implied = (path: string, layer: number): FileEntry =>
  mark(path, "directory", layer, { mode: 0o755, implied: true })

/** A rule for lower layers. */
export const mark = (
  path: string,
  type: EntryType,
  layer: number,
  rest: Partial<Pick<FileEntry, "mode" | "implied">> = {}
): FileEntry => ({
  path,
  type,
  mode: 0,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  link: undefined,
  device: undefined,
  layer,
  implied: false,
  broken: undefined,
  ...rest
})

// internal

const types: Readonly<Record<Kind, EntryType>> = {
  [Kind.Nothing]: "other",
  [Kind.Implied]: "directory",
  [Kind.Folder]: "directory",
  [Kind.File]: "file",
  [Kind.HardLink]: "hardlink",
  [Kind.Symlink]: "symlink",
  [Kind.Character]: "character",
  [Kind.Block]: "block",
  [Kind.Fifo]: "fifo",
  [Kind.Other]: "other"
}

const brokenness = (target: Target | undefined): string | undefined => {
  if (target === undefined) return "the file that it names is not there"
  return target.late ? "the file that it names comes only with a later layer" : undefined
}
