/** Layers at random, and what unpacking them one after the other comes to, in the simplest words there are. */
import * as fc from "fast-check"
import * as Layers from "./layers.js"

export type Step =
  | { readonly is: "file"; readonly path: string; readonly mode: number; readonly content: string }
  | { readonly is: "folder"; readonly path: string; readonly mode: number }
  | { readonly is: "symlink"; readonly path: string; readonly link: string }
  | { readonly is: "whiteout"; readonly path: string }
  | { readonly is: "opaque"; readonly path: string }

export type Layer = ReadonlyArray<Step>

const path = fc
  .array(fc.constantFrom("a", "b", "c-", "é"), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join("/"))
const mode = fc.constantFrom(0o644, 0o755, 0o4711)

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      is: fc.constant("file" as const),
      path,
      mode,
      content: fc.constantFrom("", "x", "y", "long")
    })
  },
  { weight: 2, arbitrary: fc.record({ is: fc.constant("folder" as const), path, mode }) },
  {
    weight: 1,
    arbitrary: fc.record({ is: fc.constant("symlink" as const), path, link: fc.constantFrom("a", "../b") })
  },
  { weight: 2, arbitrary: fc.record({ is: fc.constant("whiteout" as const), path }) },
  { weight: 1, arbitrary: fc.record({ is: fc.constant("opaque" as const), path: fc.oneof(path, fc.constant("")) }) }
)

export const layer: fc.Arbitrary<Layer> = fc.array(step, { maxLength: 8 })

export const entries = (layer: Layer): ReadonlyArray<Layers.Entry> => layer.map(entry)

const entry = (step: Step): Layers.Entry => {
  switch (step.is) {
    case "file":
      return Layers.file(step.path, step.content, step.mode)
    case "folder":
      return Layers.folder(step.path, step.mode)
    case "symlink":
      return Layers.symlink(step.path, step.link)
    case "whiteout":
      return Layers.whiteout(step.path)
    case "opaque":
      return Layers.opaque(step.path)
  }
}

export interface Known {
  readonly type: "file" | "directory" | "symlink"
  /** Not known of a folder that no layer lists, as is its layer. */
  readonly mode: number | undefined
  readonly layer: number | undefined
  readonly size: number
  readonly content: string
}

/** The files by path: whiteouts of a layer first, for they are about what lies below; then its members in their order. */
export const apply = (layers: ReadonlyArray<Layer>): Map<string, Known> => {
  const files = new Map<string, Known>()
  const removeBelow = (folder: string) => {
    for (const path of [...files.keys()]) if (folder === "" || path.startsWith(`${folder}/`)) files.delete(path)
  }
  layers.forEach((layer, at) => {
    for (const { is, path } of layer) {
      if (is === "whiteout") files.delete(path)
      if (is === "whiteout" || is === "opaque") removeBelow(path)
    }
    for (const step of layer) {
      if (step.is === "whiteout" || step.is === "opaque") continue
      const parts = step.path.split("/")
      for (let length = 1; length < parts.length; length++) {
        const parent = parts.slice(0, length).join("/")
        if (files.get(parent)?.type !== "directory") {
          files.set(parent, { type: "directory", mode: undefined, layer: undefined, size: 0, content: "" })
        }
      }
      if (step.is !== "folder") removeBelow(step.path)
      files.set(step.path, {
        type: step.is === "folder" ? "directory" : step.is,
        mode: step.is === "symlink" ? 0o644 : step.mode,
        layer: at,
        size: step.is === "file" ? step.content.length : 0,
        content: step.is === "file" ? step.content : step.is === "symlink" ? step.link : ""
      })
    }
  })
  return files
}

/** `A path`, `D path`, `M path`, sorted. What a folder is that no layer lists is no difference. */
export const difference = (a: ReadonlyMap<string, Known>, b: ReadonlyMap<string, Known>): ReadonlyArray<string> =>
  [...new Set([...a.keys(), ...b.keys()])]
    .flatMap((path) => {
      const [before, after] = [a.get(path), b.get(path)]
      if (before === undefined) return [`A ${path}`]
      if (after === undefined) return [`D ${path}`]
      const isKnown = before.mode !== undefined && after.mode !== undefined
      const same =
        before.type === after.type && before.content === after.content && (!isKnown || before.mode === after.mode)
      return same ? [] : [`M ${path}`]
    })
    .sort()
